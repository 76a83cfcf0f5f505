//! What an image's name says.
//!
//! Its parts are Fly's. The markers are the simulator's own convention: what is wrong with a
//! Machine is otherwise set by its id ([`crate::Fate`]), which nobody knows of one that is still
//! to be created. A Machine goes by its present configuration's image, so an update cures it.

use crate::api::ImageRef;

/// What a marker in the tag makes of a Machine.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `sim-crash-loop`: its process exits with 1 soon after each start.
    CrashLoop,
    /// `sim-unhealthy`: it runs, and its checks fail.
    Unhealthy,
    /// `sim-sickens`: its checks pass for a while, then fail.
    Sickens,
    /// `sim-exits-N`: its process ends by itself with this code.
    Exits(u8),
    /// `sim-slow-boot`: it boots very slowly.
    SlowBoot,
}

/// The first marker in an image's tag.
pub(crate) fn marker(image: &str) -> Option<Marker> {
    let tag = parts(image).2;
    let mut places = tag.match_indices("sim-").map(|(at, _)| &tag[at..]);
    places.find_map(read)
}

fn read(text: &str) -> Option<Marker> {
    let plain = [
        ("sim-crash-loop", Marker::CrashLoop),
        ("sim-unhealthy", Marker::Unhealthy),
        ("sim-sickens", Marker::Sickens),
        ("sim-slow-boot", Marker::SlowBoot),
    ];
    if let Some(rest) = text.strip_prefix("sim-exits-") {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let code = &rest[..digits.unwrap_or(rest.len())];
        return code.parse().ok().map(Marker::Exits);
    }
    let found = plain.iter().find(|(word, _)| text.starts_with(word));
    found.map(|(_, marker)| *marker)
}

/// Whether the image cannot be pulled. This marker is mudflaps' convention, anywhere in the name.
pub(crate) fn unpullable(image: &str) -> bool {
    image.contains("unpullable")
}

/// The parts of an image's name, `registry/repository:tag@digest`.
pub(crate) fn image_ref(image: &str) -> ImageRef {
    let (registry, repository, tag, digest) = parts(image);
    ImageRef {
        registry: registry.into(),
        repository: repository.into(),
        tag: tag.into(),
        digest: digest.into(),
        labels: Default::default(),
    }
}

fn parts(image: &str) -> (&str, &str, &str, &str) {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let (registry, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains('.') => (host, rest),
        Some(_) | None => ("docker-hub-mirror.fly.io", name),
    };
    let (repository, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
    (registry, repository, tag, digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_from_the_tag() {
        let read = |tag: &str| marker(&format!("registry.fly.io/web:{tag}@sha256:00"));
        assert_eq!(read("sim-crash-loop"), Some(Marker::CrashLoop));
        assert_eq!(read("v2-sim-unhealthy-1"), Some(Marker::Unhealthy));
        assert_eq!(read("sim-sickens"), Some(Marker::Sickens));
        assert_eq!(read("sim-slow-boot"), Some(Marker::SlowBoot));
        assert_eq!(read("sim-exits-0"), Some(Marker::Exits(0)));
        assert_eq!(read("job-sim-exits-42-b"), Some(Marker::Exits(42)));
        assert_eq!(read("sim-1-sim-exits-7"), Some(Marker::Exits(7)));
        for none in ["1", "sim-", "sim-exits-", "sim-exits-x", "sim-exits-256"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(marker("registry.fly.io/sim-unhealthy:1"), None);
        assert_eq!(marker("sim-unhealthy"), None);
    }
}
