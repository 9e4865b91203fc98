// The tensors that a pickle of torch.save describes, under the names of a state_dict.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/training/pickle.h"

namespace tapescope {

// Element (i, j, ...) is number offset + i*stride[0] + j*stride[1] + ... of its storage: all of
// them lie within, which has been checked.
struct TorchTensor {
  std::string name;
  std::string dtype;           // as safetensors names it: "F32"; or "torch.ComplexFloatStorage"
  std::size_t element = 0;     // bytes; 0: a dtype that is not known
  std::string storage;         // its key
  std::uint64_t elements = 0;  // of the storage
  std::uint64_t offset = 0;
  std::vector<std::int64_t> shape, stride;
  std::uint64_t count() const;  // of its elements
};

struct TorchTensors {
  std::vector<TorchTensor> tensors;
  std::vector<std::string> notices;  // what was chosen, and what was not read
};

// Throws a usage error, "FILE: ...", where there are none, naming what there is and the line of
// Python that helps, and where one has an impossible shape, stride or offset.
TorchTensors torch_tensors(const Pickle& pickle, const std::string& file);

// Every storage that the pickle names, part of a tensor or not.
struct TorchStorage {
  std::string key;
  std::uint64_t elements = 0;
  std::size_t element = 0;
};
std::vector<TorchStorage> torch_storages(const Pickle& pickle, const std::string& file);

}  // namespace tapescope
