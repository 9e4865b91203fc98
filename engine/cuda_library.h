// The CUDA backend is a shared library, libtapescope_cuda.so, opened when a CUDA device is first
// asked for: one binary starts on any machine.
#pragma once

#include <string>

namespace tapescope {

class DeviceRuntime;

// Empty where there is a CUDA device this build can use, otherwise one sentence why not.
const std::string& why_no_cuda();

// The address of a symbol of the library; null where this build has none that can be loaded, which
// says nothing of a device.
void* cuda_library_symbol(const char* name);
// Throws a usage error with why_no_cuda() where it cannot be used.
DeviceRuntime* cuda_runtime();

// What program and library must have in common to work on each other's structures.
constexpr int kCudaLibraryVersion = 4;

// The functions that the library exports.
extern "C" {
using TapescopeCudaVersion = int();
// Opens the device. Returns null and says why in `why` where that fails.
using TapescopeCudaOpen = DeviceRuntime*(std::string* why);
}

}  // namespace tapescope
