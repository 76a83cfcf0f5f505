//! Everything that is generated from `wit/`. Plugins use the types of the other modules.

#![expect(missing_docs, reason = "the contract is documented in wit/")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "plugin",
    additional_derives: [PartialEq, Eq],
    pub_export_macro: true,
});
