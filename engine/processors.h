// The processors that this process may run on.
#pragma once

#include <vector>

namespace tapescope {

// In order; those of the moment, or of remember_processors() where that was called.
std::vector<int> allowed_processors();

// Where GOMP_CPU_AFFINITY or OMP_PROC_BIND is set, libgomp's constructor binds the first thread to
// one processor, which threads inherit: to be called before it (.preinit_array of a program), ...
void remember_processors() noexcept;
// ... and by threads that are to have them back.
void restore_processors() noexcept;

// Of the processors that were allowed, leaves these to the calling thread and to threads started
// from then on: one of several processes that share a machine takes its part. Before the thread
// pool starts.
void keep_processors(const std::vector<int>& processors);

}  // namespace tapescope
