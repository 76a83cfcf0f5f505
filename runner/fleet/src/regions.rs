//! Where Machines can be: Fly's regions, and what a request means by the words for several of them.
//!
//! A region that a Machine of the fleet is in exists, whatever the list says: Fly opens and closes some
//! every year, and a real fleet may be loaded.

use crate::api::{self, ApiError};
use crate::fleet::Fleet;

/// A part of the world that has a word of its own.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Area {
    Europe,
    UnitedStates,
    /// North America, the United States aside.
    North,
    South,
    Elsewhere,
}

/// Code, place, whether a WireGuard gateway is there, and where in the world.
type Place = (&'static str, &'static str, bool, Area);

/// Fly's regions. (Fly's documentation, "Regions", 2026.)
const FLY: [Place; 18] = [
    ("ams", "Amsterdam, Netherlands", true, Area::Europe),
    ("arn", "Stockholm, Sweden", true, Area::Europe),
    ("bom", "Mumbai, India", true, Area::Elsewhere),
    ("cdg", "Paris, France", true, Area::Europe),
    ("dfw", "Dallas, Texas (US)", true, Area::UnitedStates),
    ("ewr", "Secaucus, NJ (US)", true, Area::UnitedStates),
    ("fra", "Frankfurt, Germany", true, Area::Europe),
    ("gru", "Sao Paulo, Brazil", false, Area::South),
    ("iad", "Ashburn, Virginia (US)", true, Area::UnitedStates),
    ("jnb", "Johannesburg, South Africa", false, Area::Elsewhere),
    (
        "lax",
        "Los Angeles, California (US)",
        true,
        Area::UnitedStates,
    ),
    ("lhr", "London, United Kingdom", true, Area::Europe),
    ("nrt", "Tokyo, Japan", true, Area::Elsewhere),
    ("ord", "Chicago, Illinois (US)", true, Area::UnitedStates),
    ("sin", "Singapore, Singapore", true, Area::Elsewhere),
    ("sjc", "San Jose, California (US)", true, Area::UnitedStates),
    ("syd", "Sydney, Australia", true, Area::Elsewhere),
    ("yyz", "Toronto, Canada", true, Area::North),
];

/// What a word for several regions covers. (Fly's documentation, "Machine Placement"; `any` is in its
/// OpenAPI document.)
fn areas(word: &str) -> Option<&'static [Area]> {
    use Area::{Elsewhere, Europe, North, South, UnitedStates};
    Some(match word {
        "any" => &[Europe, UnitedStates, North, South, Elsewhere],
        "eu" => &[Europe],
        "na" => &[UnitedStates, North],
        "sa" => &[South],
        "us" | "usa" => &[UnitedStates],
        _ => return None,
    })
}

fn place(code: &str) -> Option<&'static Place> {
    FLY.iter().find(|place| place.0 == code)
}

impl Fleet {
    /// The codes of all regions that exist: those that the fleet is made of first, the first of them
    /// being nearest to whoever asks.
    fn region_codes(&self) -> Vec<&str> {
        let machines = self.apps.values().flat_map(|app| app.machines.values());
        let own = self.settings.regions.iter().map(String::as_str);
        let found = machines.map(|machine| machine.region.as_str());
        let mut all: Vec<&str> = own.collect();
        for code in FLY.iter().map(|place| place.0).chain(found) {
            if !code.is_empty() && !all.contains(&code) {
                all.push(code);
            }
        }
        all
    }

    /// The regions that exist.
    pub fn regions(&self) -> api::Regions {
        let region = |code: &&str| {
            let known = place(code);
            api::Region {
                code: (*code).to_owned(),
                name: known.map_or_else(|| code.to_uppercase(), |place| place.1.to_owned()),
                gateway_available: known.is_some_and(|place| place.2),
                ..api::Region::default()
            }
        };
        let codes = self.region_codes();
        let mut regions: Vec<api::Region> = codes.iter().map(region).collect();
        regions.sort_by(|one, other| one.code.cmp(&other.code));
        api::Regions {
            nearest: codes.first().copied().unwrap_or_default().to_owned(),
            regions,
        }
    }

    /// The regions that a request means, in its order, each once: codes and words for several, separated
    /// by commas. Nothing means any of them, the nearest first.
    pub(crate) fn regions_of(&self, expression: &str) -> Result<Vec<String>, ApiError> {
        let known = self.region_codes();
        let words = expression
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let mut words: Vec<&str> = words.collect();
        if words.is_empty() {
            words.push("any");
        }
        let mut meant: Vec<String> = Vec::new();
        for word in words {
            let covered = |code: &&&str| match areas(word) {
                // Where in the world one is that is on no list, nobody knows.
                Some(areas) => place(code).map_or(word == "any", |place| areas.contains(&place.3)),
                None => **code == word,
            };
            let codes: Vec<&&str> = known.iter().filter(covered).collect();
            if codes.is_empty() {
                return Err(ApiError::new(
                    400,
                    format!("invalid_argument: region {word} not found"),
                ));
            }
            for code in codes {
                if !meant.iter().any(|known| known == code) {
                    meant.push((*code).to_owned());
                }
            }
        }
        Ok(meant)
    }

    /// Where a new Machine goes: the first region of those meant that has room.
    pub(crate) fn region_for(&self, wanted: &str) -> Result<String, ApiError> {
        let meant = self.regions_of(wanted)?;
        let free = meant.into_iter().find(|code| self.has_room(code).is_ok());
        free.ok_or_else(ApiError::insufficient_capacity)
    }
}
