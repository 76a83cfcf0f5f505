//! Groundcrew plugin restart-by-group.
