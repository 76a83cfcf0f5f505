//! Others read what we write: Go's transparent logs verify our audit log and our receipts.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use groundcrew_tests::{World, fleet, packages};

const RESTART: [&str; 7] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
    "--yes",
];

/// Where Debian puts libraries for Go.
const GOPATH: &str = "/usr/share/gocode";

/// Builds the verifier from `tests/interop`.
fn verifier(to: &Path) -> Result<()> {
    packages::need(
        &[
            "/usr/bin/go",
            "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog",
        ],
        &["golang-go", "golang-golang-x-mod-dev"],
    )?;
    let built = Command::new("/usr/bin/go")
        .args(["build", "-o"])
        .arg(to)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/main.go"))
        .env("GOPATH", GOPATH)
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", std::env::temp_dir().join("groundcrew-tests-go"))
        .output()?;
    ensure!(built.status.success(), "{built:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn go_verifies_our_log_and_our_receipts() -> Result<()> {
    let world = World::start(fleet(60, 7), 40.0).await?;
    ensure!(world.run(&RESTART).await?.code == 0);
    let log = world.state().join("audit");
    let earlier = world.project().join("earlier");
    std::fs::copy(log.join("checkpoint"), &earlier)?;
    ensure!(world.run(&RESTART).await?.code == 0);
    let run = world.newest_run().await?;
    let receipt = world.project().join("receipt.json");
    let path = receipt.display().to_string();
    let proven = world.run(&["audit", "prove", &run, "-o", &path]).await?;
    ensure!(proven.code == 0, "{proven:?}");

    let program = world.project().join("verifier");
    verifier(&program)?;
    let verify = || -> Result<Output> {
        let mut command = Command::new(&program);
        Ok(command.arg(&log).arg(&receipt).arg(&earlier).output()?)
    };
    let output = verify()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{output:?}");
    let checkpoint = std::fs::read_to_string(log.join("checkpoint"))?;
    let size = checkpoint.lines().nth(1).context("no size")?;
    ensure!(said.starts_with(&format!("{size} leaves, ")), "{said}");
    ensure!(size.parse::<u64>()? > 256, "one tile shows little: {size}");

    // It would have seen one bit, in a tile, an entry, the receipt or the checkpoint.
    for file in ["tile/0/000", "tile/entries/000", "checkpoint"]
        .map(|name| log.join(name))
        .iter()
        .chain([&receipt])
    {
        let whole = std::fs::read(file)?;
        let mut changed = whole.clone();
        // In the receipt and the checkpoint that is inside a hash.
        let at = match file == &receipt {
            true => {
                let text = String::from_utf8_lossy(&whole);
                text.find("index ").context("no proof")? + 20
            }
            false => changed.len() / 3,
        };
        changed[at] ^= 1;
        std::fs::write(file, &changed)?;
        let output = verify()?;
        ensure!(
            !output.status.success(),
            "{}: a changed bit is not seen",
            file.display()
        );
        std::fs::write(file, &whole)?;
    }
    ensure!(verify()?.status.success());
    world.verify()
}
