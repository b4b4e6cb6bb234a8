"""A run from the outside: begun, driven, judged, and what is known about all of them."""
