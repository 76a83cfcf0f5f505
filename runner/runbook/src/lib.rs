//! The language of Groundcrew runbooks: text in, checked runbook and diagnostics out.
