"""The REST API: views, lists and pages, writes, problem documents; `reads` answers most GETs."""
