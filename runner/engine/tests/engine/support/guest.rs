//! Plugins for tests: a core module in text, of which only what `run` does is written by the
//! test, made a component by `wit/`.
//!
//! Memory: below 1,024 scratch, from 65,536 what the guest says (`$say`), from 131,072 the texts,
//! then the heap. Every plugin imports `operations`, `log.note` and the test's ledger.

use std::path::Path;
use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

const TEXTS: usize = 131_072;

static WORLD: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(&wit).expect("wit/ parses");
    let package = resolve
        .push_str("ledger.wit", include_str!("ledger.wit"))
        .expect("ledger.wit parses");
    let world = resolve
        .select_world(&[package], Some("ledger-plugin"))
        .expect("the world is there");
    (resolve, world)
});

/// A plugin to be built.
pub(crate) struct GuestSource {
    /// What `run` does; has to leave the address of a result, as `$finish` gives it.
    pub(crate) run: String,
    /// Instead of returning the description, `describe` does this.
    pub(crate) describe: Option<String>,
    /// Further functions of the module.
    pub(crate) functions: String,
    pub(crate) input_schema: String,
    pub(crate) output_schema: String,
    pub(crate) summary: String,
    /// What it asks for of the ledger.
    pub(crate) verbs: Vec<&'static str>,
}

/// A plugin that does `run` and asks for everything.
pub(crate) fn guest(run: impl Into<String>) -> GuestSource {
    GuestSource {
        run: run.into(),
        describe: None,
        functions: String::new(),
        input_schema: "{}".to_owned(),
        output_schema: "{}".to_owned(),
        summary: "A test.".to_owned(),
        verbs: super::ledger::VERBS.to_vec(),
    }
}

/// `body` so many times, `$i` counting from 0.
pub(crate) fn times(count: u64, body: &str) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (block $out (loop $again
           (br_if $out (i32.ge_u (local.get $i) (i32.const {count})))
           {body}
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $again)))"
    )
}

impl GuestSource {
    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        component(&self.module())
    }

    /// Its module's text.
    pub(crate) fn module(&self) -> String {
        let (data, description, heap) = self.description();
        let pages = heap.div_ceil(65_536) + 1;
        let describe = self.describe.clone().unwrap_or_default();
        let data: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!(
            "(module
  {PRELUDE}
  (memory (export \"memory\") {pages})
  (data (i32.const {TEXTS}) \"{data}\")
  (global $heap (mut i32) (i32.const {heap}))
  {}
  (func (export \"describe\") (result i32) {describe} (i32.const {description}))
  (func (export \"run\") (param $input i32) (param $length i32) (result i32)
    (local $i i32) (local $n i32) (local $op i64)
    {})
)",
            self.functions, self.run
        )
    }

    /// The texts of the description with its record, the record's address, and where the heap
    /// begins.
    fn description(&self) -> (Vec<u8>, usize, usize) {
        let mut data = Vec::new();
        let mut place = |bytes: &[u8]| {
            while data.len() % 8 != 0 {
                data.push(0);
            }
            let at = TEXTS + data.len();
            data.extend_from_slice(bytes);
            (at, bytes.len())
        };
        let pair = |(at, len): (usize, usize)| {
            [
                u32::try_from(at).unwrap().to_le_bytes(),
                u32::try_from(len).unwrap().to_le_bytes(),
            ]
            .concat()
        };
        let verbs: Vec<u8> = self
            .verbs
            .iter()
            .flat_map(|verb| pair(place(verb.as_bytes())))
            .collect();
        let verbs = (place(&verbs).0, self.verbs.len());
        let request = [pair(place(b"ledger")), pair(verbs), pair(place(b"to test"))].concat();
        let requests = (place(&request).0, 1);
        let texts: Vec<u8> = [
            "test",
            "1.0.0",
            &self.summary,
            &self.input_schema,
            &self.output_schema,
        ]
        .iter()
        .flat_map(|text| pair(place(text.as_bytes())))
        .collect();
        let record = [texts, pair(requests)].concat();
        let at = place(&record).0;
        let heap = (TEXTS + data.len()).next_multiple_of(8);
        (data, at, heap)
    }
}

/// A module's text as a component.
pub(crate) fn component(module: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).expect("the guest's text parses");
    let (resolve, world) = &*WORLD;
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8, false)
        .expect("the world can be embedded");
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(&module)
        .expect("the module fits the world")
        .encode()
        .expect("a component can be made")
}

/// What every guest has. `$take_…` give 0 for a success, and 1 and up for the failures in the
/// order of `wit/operations.wit`.
const PRELUDE: &str = r#"
  (import "groundcrew:host/operations@0.1.0" "next" (func $host_next (param i32 i32)))
  (import "groundcrew:host/operations@0.1.0" "sleep" (func $sleep (param i64) (result i64)))
  (import "groundcrew:host/operations@0.1.0" "take-sleep" (func $host_take_sleep (param i64 i32)))
  (import "groundcrew:host/operations@0.1.0" "cancel" (func $cancel (param i64)))
  (import "groundcrew:host/operations@0.1.0" "forget" (func $forget (param i64)))
  (import "groundcrew:host/operations@0.1.0" "random" (func $random (result i64)))
  (import "groundcrew:host/operations@0.1.0" "now" (func $now (result i64)))
  (import "groundcrew:host/log@0.1.0" "note" (func $host_note (param i32 i32 i32)))
  (import "test:host/ledger@0.1.0" "write" (func $host_write (param i32 i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-write" (func $host_take_write (param i64 i32)))
  (import "test:host/ledger@0.1.0" "unwrite" (func $host_unwrite (param i32 i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-unwrite" (func $host_take_unwrite (param i64 i32)))
  (import "test:host/ledger@0.1.0" "make" (func $host_make (param i32 i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-make" (func $host_take_make (param i64 i32)))
  (import "test:host/ledger@0.1.0" "linger" (func $host_linger (param i32 i32 i64) (result i64)))
  (import "test:host/ledger@0.1.0" "take-linger" (func $host_take_linger (param i64 i32)))
  (import "test:host/ledger@0.1.0" "read" (func $host_read (param i32 i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-read" (func $host_take_read (param i64 i32)))
  (import "test:host/ledger@0.1.0" "big" (func $big (param i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-big" (func $host_take_big (param i64 i32)))
  (import "test:host/ledger@0.1.0" "slow" (func $host_slow (param i32 i32 i64) (result i64)))
  (import "test:host/ledger@0.1.0" "take-slow" (func $host_take_slow (param i64 i32)))
  (import "test:host/ledger@0.1.0" "keep" (func $host_keep (param i32 i32) (result i64)))
  (import "test:host/ledger@0.1.0" "take-keep" (func $host_take_keep (param i64 i32)))

  ;; Gives from the heap, and never takes back.
  (func $alloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $new)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 1)))
      (br $grow)))
    (memory.copy (local.get $at) (local.get $old) (local.get $size))
    (local.get $at))

  ;; Five digits.
  (func $digits (param $at i32) (param $n i32)
    (local $i i32)
    (local.set $i (i32.const 5))
    (loop $again
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $again (local.get $i))))
  ;; The key `m00042` at 16.
  (func $key (param $n i32)
    (i32.store8 (i32.const 16) (i32.const 109))
    (call $digits (i32.const 17) (local.get $n)))

  (func $write (param $n i32) (result i64) (call $key (local.get $n)) (call $host_write (i32.const 16) (i32.const 6)))
  (func $unwrite (param $n i32) (result i64) (call $key (local.get $n)) (call $host_unwrite (i32.const 16) (i32.const 6)))
  (func $make (param $kind i32) (result i64) (call $key (local.get $kind)) (call $host_make (i32.const 16) (i32.const 6)))
  ;; The key of what was made is at 24.
  (func $take_make (param $op i64) (result i32)
    (call $host_take_make (local.get $op) (i32.const 48))
    (if (i32.eqz (i32.load8_u (i32.const 48))) (then (memory.copy (i32.const 24) (i32.load (i32.const 52)) (i32.const 6))))
    (call $taken))
  (func $write_made (result i64) (call $host_write (i32.const 24) (i32.const 6)))
  (func $unwrite_made (result i64) (call $host_unwrite (i32.const 24) (i32.const 6)))
  (func $read (param $n i32) (result i64) (call $key (local.get $n)) (call $host_read (i32.const 16) (i32.const 6)))
  (func $keep (param $n i32) (result i64) (call $key (local.get $n)) (call $host_keep (i32.const 16) (i32.const 6)))
  (func $slow (param $n i32) (param $ms i64) (result i64) (call $key (local.get $n)) (call $host_slow (i32.const 16) (i32.const 6) (local.get $ms)))
  (func $linger (param $n i32) (param $ms i64) (result i64) (call $key (local.get $n)) (call $host_linger (i32.const 16) (i32.const 6) (local.get $ms)))

  (func $taken (result i32)
    (if (result i32) (i32.load8_u (i32.const 48)) (then (i32.add (i32.const 1) (i32.load8_u (i32.const 52)))) (else (i32.const 0))))
  (func $take_write (param $op i64) (result i32) (call $host_take_write (local.get $op) (i32.const 48)) (call $taken))
  (func $take_unwrite (param $op i64) (result i32) (call $host_take_unwrite (local.get $op) (i32.const 48)) (call $taken))
  (func $take_linger (param $op i64) (result i32) (call $host_take_linger (local.get $op) (i32.const 48)) (call $taken))
  (func $take_read (param $op i64) (result i32) (call $host_take_read (local.get $op) (i32.const 48)) (call $taken))
  (func $take_big (param $op i64) (result i32) (call $host_take_big (local.get $op) (i32.const 48)) (call $taken))
  (func $take_slow (param $op i64) (result i32) (call $host_take_slow (local.get $op) (i32.const 48)) (call $taken))
  (func $take_keep (param $op i64) (result i32) (call $host_take_keep (local.get $op) (i32.const 48)) (call $taken))
  (func $take_sleep (param $op i64) (result i32) (call $host_take_sleep (local.get $op) (i32.const 48)) (call $taken))

  ;; How many were delivered; `$delivered` gives each.
  (func $next (param $max i32) (result i32) (call $host_next (local.get $max) (i32.const 32)) (i32.load (i32.const 36)))
  (func $delivered (param $n i32) (result i64) (i64.load (i32.add (i32.load (i32.const 32)) (i32.mul (local.get $n) (i32.const 8)))))
  ;; Everything that is under way is delivered, `$max` at a time, and said in that order.
  (func $drain (param $max i32)
    (local $n i32) (local $i i32)
    (loop $again
      (local.set $n (call $next (local.get $max)))
      (local.set $i (i32.const 0))
      (block $out (loop $each
        (br_if $out (i32.ge_u (local.get $i) (local.get $n)))
        (call $say (i32.wrap_i64 (call $delivered (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
      (br_if $again (local.get $n))))

  ;; Says a number: five digits and a comma in the output.
  (global $said (mut i32) (i32.const 65537))
  (func $say (param $n i32)
    (call $digits (global.get $said) (local.get $n))
    (i32.store8 (i32.add (global.get $said) (i32.const 5)) (i32.const 44))
    (global.set $said (i32.add (global.get $said) (i32.const 6))))
  (func $note (param $at i32) (param $length i32) (call $host_note (i32.const 1) (local.get $at) (local.get $length)))

  ;; Success, with an output.
  (func $ok (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 96) (i32.const 0))
    (i32.store (i32.const 100) (local.get $at))
    (i32.store (i32.const 104) (local.get $length))
    (i32.const 96))
  ;; Success, with what was said.
  (func $finish (result i32)
    (i32.store8 (i32.const 65536) (i32.const 34))
    (i32.store8 (global.get $said) (i32.const 34))
    (call $ok (i32.const 65536) (i32.sub (i32.add (global.get $said) (i32.const 1)) (i32.const 65536))))
  ;; A problem of a kind, whose message is the key.
  (func $problem (param $kind i32) (result i32)
    (call $key (i32.const 0))
    (i32.store8 (i32.const 96) (i32.const 1))
    (i32.store8 (i32.const 100) (local.get $kind))
    (i32.store (i32.const 104) (i32.const 16))
    (i32.store (i32.const 108) (i32.const 6))
    (i32.store8 (i32.const 112) (i32.const 0))
    (i32.const 96))
"#;
