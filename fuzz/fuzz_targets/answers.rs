//! Answers of a service: whatever they are, they are read or refused, and what is told of them is
//! bounded. The first line is the status.

pub(crate) fn run(text: &str) {
    let (status, body) = text.split_once('\n').unwrap_or(("200", text));
    let status = status.trim().parse().unwrap_or(200);
    groundcrew_capabilities::fly::read_anything(status, body.as_bytes());
}
