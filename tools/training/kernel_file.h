// --kernel: variants by name, or measured ones, which a run keeps in RUN/kernels.json.
#pragma once

#include <filesystem>
#include <string>

#include "autograd/program/measure_kernels.h"

namespace tapescope {

// FAMILY=VARIANT, `measured` or a FILE.json, with commas between them.
struct KernelRequest {
  KernelChoices by_name;
  bool measured = false;
  std::string file;
  bool by_shape() const { return measured || !file.empty(); }
};
// Throws a usage error that names what is no kernel.
KernelRequest parse_kernels(const std::string& text);

// What ends the errors about such a file.
inline constexpr const char* kKernelFileRemedy =
    "without that file --kernel measured measures anew, and the bits may be others";

std::filesystem::path kernel_file_of(const std::filesystem::path& run);  // RUN/kernels.json

// The choices that a file holds. Throws a usage error that names the file and its entry where it is
// none, was measured on another kind of device, or names a variant that cannot run here.
KernelChoices read_kernel_file(const std::filesystem::path& file, Device device);

// What a command on a run was asked for; `measured` is what its training measured.
KernelChoices kernels_of_run(const std::string& text, const std::filesystem::path& run,
                             Device device);

// The file of what was measured here, JSON: the machine, and of each kernel the variant that was
// chosen, with the milliseconds that each took in a step.
std::string kernel_file_text(const KernelMeasurement& measured, Device device);
// "kernels: 61, of which 38 can be chosen: 7 otherwise than usual; a step's nodes take 122 ms where
// they took 131; measured in 4.2 s".
std::string sentence_of(const KernelMeasurement& measured);

}  // namespace tapescope
