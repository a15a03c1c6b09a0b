# Sourced: options that leave out the persons of one of the bundle's three networks, in `persons`.
left_out=(
    "head-1 head-5 site-03 site-06 site-09 site-12"
    "head-2 head-6 site-01 site-04 site-07 site-10"
    "head-3 head-4 head-7 site-02 site-05 site-08 site-11"
)
leave_out() {
    local person
    persons=()
    for person in ${left_out[$1]}; do persons+=(--leave-out "$person"); done
}
