//! Builds the plugins: core modules by cargo, components by `wit-component`.
//!
//! Guests have a target directory and a profile of their own, so that neither build disturbs the
//! other. The same sources and the same toolchain give the same bytes wherever the checkout is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::wasm_target::{TARGET, WasmTarget};

/// One component that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The plugin's name, which is its crate's.
    pub(crate) name: String,
    /// Where the component is.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: usize,
    /// What it imports, as `imports_of` tells.
    pub(crate) imports: Vec<String>,
}

/// Builds every plugin of the workspace into `<target>/plugins/<name>.wasm`.
pub(crate) fn build() -> Result<Vec<Built>> {
    let workspace = Workspace::read()?;
    let guests = workspace.target.join("guests");
    let target = WasmTarget::obtain()?;

    let mut cargo = cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "plugin",
            "--target-dir",
        ])
        .arg(&guests);
    for name in &workspace.plugins {
        cargo.args(["--package", name]);
    }
    target.configure(&mut cargo)?;
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&workspace, &target))
        .current_dir(&workspace.root);
    ensure!(
        cargo.status().context("cannot run cargo")?.success(),
        "the plugins do not compile"
    );

    let modules = guests.join(TARGET).join("plugin");
    let components = workspace.target.join("plugins");
    fs::create_dir_all(&components)?;
    workspace
        .plugins
        .iter()
        .map(|name| {
            let module = modules.join(format!("{}.wasm", name.replace('-', "_")));
            componentise(name, &module, &components.join(format!("{name}.wasm")))
        })
        .collect()
}

/// What a component imports: `interface#function`, sorted. This is all that it can ever call.
pub(crate) fn imports_of(component: &[u8]) -> Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        anyhow::bail!("this is a WIT package, not a component");
    };
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let name = resolve.name_world_key(key);
        match item {
            wit_parser::WorldItem::Interface { id, .. } => {
                let functions = &resolve.interfaces[*id].functions;
                imports.extend(
                    functions
                        .keys()
                        .map(|function| format!("{name}#{function}")),
                );
            }
            wit_parser::WorldItem::Function(_) => imports.push(name),
            wit_parser::WorldItem::Type { .. } => {}
        }
    }
    imports.sort();
    Ok(imports)
}

/// Makes a component of a core module. A component that stays the same keeps its file untouched.
fn componentise(name: &str, module: &Path, path: &Path) -> Result<Built> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("{name} does not fit the contract in wit/"))?;
    if fs::read(path).ok().as_ref() != Some(&component) {
        fs::write(path, &component).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Built {
        name: name.to_owned(),
        path: path.to_owned(),
        bytes: component.len(),
        imports: imports_of(&component)?,
    })
}

/// Flags that keep this machine's paths out of the output.
fn rustflags(workspace: &Workspace, target: &WasmTarget) -> String {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut replaced = vec![(workspace.root.clone(), "/groundcrew")];
    replaced.extend(home.map(|home| (home, "/cargo")));
    replaced.extend(
        target
            .private_paths()
            .into_iter()
            .map(|path| (path, "/toolchain")),
    );
    let flags: Vec<String> = replaced
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .collect();
    flags.join("\u{1f}")
}

/// What the build needs to know of the workspace.
struct Workspace {
    root: PathBuf,
    target: PathBuf,
    /// Packages below `plugins/` that make a dynamic library, sorted.
    plugins: Vec<String>,
}

impl Workspace {
    fn read() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("no {key}"))
        };
        let root = path("workspace_root")?;
        let below = root.join("plugins");
        let packages = metadata["packages"].as_array().context("no packages")?;
        let mut plugins: Vec<String> = packages
            .iter()
            .filter(|package| {
                package["manifest_path"]
                    .as_str()
                    .is_some_and(|it| Path::new(it).starts_with(&below))
            })
            .filter(|package| is_plugin(package))
            .filter_map(|package| Some(package["name"].as_str()?.to_owned()))
            .collect();
        plugins.sort();
        Ok(Self {
            target: path("target_directory")?,
            root,
            plugins,
        })
    }
}

fn is_plugin(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets
        .filter_map(|target| target["crate_types"].as_array())
        .flatten()
        .any(|kind| kind == "cdylib")
}

/// The cargo that runs us.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
