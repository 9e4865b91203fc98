// The processors that this process may run on.
#pragma once

#include <string>
#include <vector>

namespace tapescope {

// In order; those of the moment, or of remember_processors() where that was called.
std::vector<int> allowed_processors();

// Where GOMP_CPU_AFFINITY or OMP_PROC_BIND is set, the constructor of libgomp, which comes with
// oneDNN, binds the first thread to one processor, and every thread that it starts inherits that.
// To be called before any library's constructor (.preinit_array of a program), ...
void remember_processors() noexcept;
// ... and by threads that are to have them back: the first one, in main().
void restore_processors() noexcept;

// {0, 1, 2, 5}: "0-2,5".
std::string processors_text(const std::vector<int>& processors);

}  // namespace tapescope
