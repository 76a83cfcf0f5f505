//! What reaches the process inside a Machine: signals, and commands that are run beside it. Leases do
//! not matter here.

use crate::api::{self, ApiError, Done};
use crate::commands::wrong_state;
use crate::fleet::{Caller, Fleet};
use crate::machine::exit_code;
use crate::state::State;

/// What may be sent to a process, with its number. Fly's OpenAPI document, `SignalRequest`.
const SIGNALS: [(&str, i32); 14] = [
    ("SIGABRT", 6),
    ("SIGALRM", 14),
    ("SIGFPE", 8),
    ("SIGHUP", 1),
    ("SIGILL", 4),
    ("SIGINT", 2),
    ("SIGKILL", 9),
    ("SIGPIPE", 13),
    ("SIGQUIT", 3),
    ("SIGSEGV", 11),
    ("SIGTERM", 15),
    ("SIGTRAP", 5),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
];

/// The signals that a well-behaved process survives.
const SURVIVED: [i32; 4] = [1, 10, 12, 13];

impl Fleet {
    /// Sends a signal to the main process. Leases do not matter, as fly-go sends no nonce.
    pub fn signal(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::SignalRequest,
    ) -> Result<Done, ApiError> {
        let machine = self.there(app, id)?;
        self.reachable(machine)?;
        let wanted = request.signal.as_str();
        let known = SIGNALS
            .iter()
            .find(|(name, number)| *name == wanted || number.to_string() == wanted);
        let Some((_, number)) = known else {
            return Err(ApiError::new(
                400,
                format!("invalid_argument: unknown signal '{wanted}'"),
            ));
        };
        self.running(app, id, "signal")?;
        self.log_applied(caller, "machines.signal", app, id);
        if !SURVIVED.contains(number) {
            // 128 + the signal: how a shell, and Fly, report it. A polite end is a clean one.
            let code = if [2, 15].contains(number) {
                0
            } else {
                128 + number
            };
            self.finish_crash(app, id, code, false);
        }
        Ok(Done::default())
    }

    /// Runs a command in a Machine: the model prints the command and a newline, and answers N if
    /// it ends in `exit N`, else 0. That is the simulator's convention.
    pub fn exec(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        id: &str,
        request: &api::ExecRequest,
    ) -> Result<api::ExecResponse, ApiError> {
        self.writable(caller, app, id)?;
        let line = if request.cmd.is_empty() {
            request.command.join(" ")
        } else {
            request.cmd.clone()
        };
        if line.is_empty() {
            return Err(ApiError::new(400, "invalid_argument: command is required"));
        }
        self.running(app, id, "exec in")?;
        self.log_applied(caller, "machines.exec", app, id);
        Ok(api::ExecResponse {
            exit_code: exit_code(&line),
            stdout: format!("{line}\n"),
            ..api::ExecResponse::default()
        })
    }

    fn running(&self, app: &str, id: &str, verb: &str) -> Result<(), ApiError> {
        let state = self.there(app, id)?.state;
        if state == State::Started {
            Ok(())
        } else {
            Err(wrong_state(state, verb))
        }
    }
}
