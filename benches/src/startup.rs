//! From the start of the process to its first request, with the plugin compiled before and not.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Home, Setting, ourselves};
use crate::report::{Report, Row, median, shown};

pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let door = Door::open()?;
    let home = Home::new(setting, &door.address, false)?;
    let run = || home.command(&["run", "restart-by-group", "-i", "app=web", "--yes"]);
    let bare = || ourselves(&["bare-request".to_owned(), door.address.clone()]);
    // The state directory and the compiled plugin are there before the first measurement.
    door.first_request(run())?;

    let times = setting.times(31);
    // Taken in turns, so that whatever else the machine does meets both.
    let (mut cached, mut baseline) = (Vec::new(), Vec::new());
    for _ in 0..times {
        cached.push(door.first_request(run())?);
        baseline.push(door.first_request(bare()?)?);
    }
    let (cached, baseline) = (median(cached), median(baseline));
    let compared = format!("{}: a process with an HTTP client alone", shown(baseline));
    report.add(Row {
        what: format!("process start to first API request, plugin cached (median of {times})"),
        target: "<= 25 ms".to_owned(),
        measured: shown(cached),
        baseline: compared.clone(),
        reached: Some(cached <= Duration::from_millis(25)),
    });

    let times = setting.times(11);
    let mut uncached = Vec::new();
    for _ in 0..times {
        std::fs::remove_dir_all(home.path().join("cache"))?;
        uncached.push(door.first_request(run())?);
    }
    let uncached = median(uncached);
    report.add(Row {
        what: format!("the same with an uncached plugin, compile included (median of {times})"),
        target: "<= 250 ms".to_owned(),
        measured: shown(uncached),
        baseline: compared,
        reached: Some(uncached <= Duration::from_millis(250)),
    });
    Ok(())
}

/// A server that notes when somebody knocks, and knows no app.
pub(crate) struct Door {
    listener: TcpListener,
    pub(crate) address: String,
}

impl Door {
    pub(crate) fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, address })
    }

    /// Waits for a request of a process and holds it.
    pub(crate) fn knock(&self, from: &mut Child) -> Result<TcpStream> {
        self.listener.set_nonblocking(true)?;
        let mut stream = loop {
            match self.listener.accept() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if let Some(status) = from.try_wait()? {
                        bail!("the process ended without a request: {status}");
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                accepted => break accepted?.0,
            }
        };
        self.listener.set_nonblocking(false)?;
        stream.set_nonblocking(false)?;
        stream.read_exact(&mut [0])?;
        Ok(stream)
    }

    /// The time from the start of a process to the first byte of its first request. Then it is told
    /// that there is no such app, and ends.
    pub(crate) fn first_request(&self, mut command: Command) -> Result<Duration> {
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        // Knocks itself when the process has ended, so that one that never asks is not waited for.
        let address = self.listener.local_addr()?;
        let ended = std::thread::spawn(move || {
            child.wait()?;
            TcpStream::connect(address).map(drop)
        });
        let (mut stream, _) = self.listener.accept()?;
        let mut first = [0];
        let asked = stream.read_exact(&mut first);
        let took = began.elapsed();
        if asked.is_ok() {
            let mut rest = [0; 16 << 10];
            let _ = stream.read(&mut rest)?;
            let body = r#"{"error":"app not found"}"#;
            let head =
                "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nconnection: close";
            write!(
                stream,
                "{head}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            drop(stream);
        }
        ended
            .join()
            .map_err(|_| anyhow::anyhow!("the waiting thread broke down"))??;
        asked.with_context(|| format!("{command:?} ended without a request"))?;
        let _ = self.listener.accept()?;
        Ok(took)
    }
}
