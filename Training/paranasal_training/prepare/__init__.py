"""`paranasal prepare`: a site's scans -> a crop store."""
