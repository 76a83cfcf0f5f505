//! A pure model of a fleet of Fly Machines: state, transitions, virtual time, faults.
