//! The fleet model served over HTTP as Fly's Machines API.
