// The program's edges towards the system: descriptors, signals, the end of its output.
#pragma once

#include <string>
#include <vector>

namespace tapescope::cli {

// First in main. Descriptors 0 to 2 that are closed are opened, so that no file that is opened
// later becomes anybody's output. A reader that goes away and a file that grows past its limit
// become errors of the write, not deaths. What is said on stderr is said as far as it can be: a
// message that nobody can read ends no training.
void prepare_process();

// Ends stdout and returns the exit status: `status`, or 1 with a sentence where what was printed
// could not be written. Where the reader has gone away (`| head`) the process ends as other tools
// do, by SIGPIPE: nothing is said, a shell sees 141.
int end_output(int status);

// The options, "--batch-size", of the subcommand that runs: remedies name no others.
void name_options(std::vector<std::string> options);

// Calls `command` and returns the exit status; every exception becomes a sentence on stderr.
int status_of(int (*command)(int argc, char** argv), int argc, char** argv);

// The same of the exception that is being handled, within a catch.
int tell_error();

// Makes SIGINT, SIGTERM and SIGHUP (a terminal that is closed, a connection that is lost) a wish
// that `interrupted` tells. SIGHUP stays ignored where it was when the program began (nohup).
void catch_interrupts();
bool interrupted();

}  // namespace tapescope::cli
