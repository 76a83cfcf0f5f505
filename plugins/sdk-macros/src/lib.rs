//! The attribute macro of groundcrew-plugin.
