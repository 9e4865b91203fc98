#include "engine/processors.h"
#include "tools/cli/cli.h"
#include "tools/cli/process.h"

// Called before the constructors of any library.
__attribute__((section(".preinit_array"),
               used)) void (*const kFirst)() = tapescope::remember_processors;

int main(int argc, char** argv) {
  using namespace tapescope::cli;
  tapescope::restore_processors();
  prepare_process();
  return end_output(status_of(run, argc, argv));
}
