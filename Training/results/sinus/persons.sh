# Sourced: options that leave out the persons of one of the bundle's three networks, in `persons`.
# The site's heads 08, 09 and 10 are one person. Bundle 6 and all figures here were made before that was found: with
# site-09 in the first list, site-10 in the second and site-08 in the third (see one_person.py).
left_out=(
    "head-1 head-5 site-03 site-06 site-12"
    "head-2 head-6 site-01 site-04 site-07 site-11"
    "head-3 head-4 head-7 site-02 site-05 site-08 site-09 site-10"
)
leave_out() {
    local person
    persons=()
    for person in ${left_out[$1]}; do persons+=(--leave-out "$person"); done
}
