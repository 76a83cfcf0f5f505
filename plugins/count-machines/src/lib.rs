//! Groundcrew plugin count-machines.
