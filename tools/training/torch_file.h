// What PyTorch's torch.save wrote: a zip archive (.pt, .pth, .bin since version 1.6) of a pickle
// and one part for each storage, or the older file of five pickles and the storages behind them.
// The pickle is read as data (pickle.h): no code of the file runs.
//
// Tensors have the names that they have in the file's state_dict. A dict with other things in it is
// looked into ("state_dict", "model", "ema", ...), a pickled module is read through its parameters,
// buffers and modules, a TorchScript archive likewise.
#pragma once

#include <string_view>

#include "tools/training/weights_file.h"

namespace tapescope {

// Whether a file that begins with these nine bytes or more is a zip archive or a pickle.
bool is_torch_file(std::string_view head);

class TorchFile final : public WeightsFile {
 public:
  // Throws a usage error that says what is wrong, and where Python can help the line that does.
  // What a file claims is bounded by what it holds: every shape, stride and offset must lie in its
  // storage, and all tensors together may be four times the file (tensors may share a storage) and
  // 64 MiB.
  explicit TorchFile(std::filesystem::path path);
  ~TorchFile() override;

 private:
  struct State;
  void read_bytes(const Entry& entry, std::span<std::byte> to) override;
  std::unique_ptr<State> state_;
};

}  // namespace tapescope
