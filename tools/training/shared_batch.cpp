#include "tools/training/shared_batch.h"

#include <algorithm>

#include "autograd/program/share.h"
#include "engine/error.h"
#include "engine/hash.h"
#include "tools/training/environment.h"

namespace tapescope {

bool same_on_all(Communicator* ranks, std::string_view text) {
  if (ranks == nullptr) return true;
  const std::uint64_t own = stable_hash(text);
  std::vector<std::uint64_t> all(static_cast<std::size_t>(ranks->size()));
  ranks->all_gather(&own, std::vector(all.size(), sizeof own), all.data());
  return std::count(all.begin(), all.end(), own) == ranks->size();
}

Tensor gathered(const Tensor& own, const Batch& batch, Communicator& ranks) {
  const Shape row = own.shape().without_leading();
  const std::size_t row_bytes = Type{own.dtype(), row}.bytes();
  std::vector<std::size_t> bytes;
  for (int r = 0; r < ranks.size(); ++r) {
    const RowRange share = piece_of(batch.all_rows, r, ranks.size());
    bytes.push_back(static_cast<std::size_t>(share.count) * row_bytes);
  }
  Tensor all({own.dtype(), row.with_leading(batch.all_rows)}, Device::cpu(), Purpose::data,
             "batch");
  ranks.all_gather(own.data(), bytes, all.data());
  return all;
}

Batch whole_batch(const Batch& own, Communicator& ranks, std::string_view without) {
  Batch all;
  all.epoch = own.epoch;
  all.number = own.number;
  all.all_rows = own.all_rows;
  for (const auto& [name, tensor] : own.tensors) {
    if (name != without) all.tensors.emplace_back(name, gathered(tensor, own, ranks));
  }
  const auto rows = static_cast<std::int64_t>(own.indices.size());
  const Tensor indices = gathered(Tensor::from<std::int64_t>({rows}, own.indices), own, ranks);
  const auto values = indices.values<std::int64_t>();
  all.indices.assign(values.begin(), values.end());
  return all;
}

void expect_alike(std::span<const ParameterRef> parameters, Communicator& ranks,
                  std::int64_t step) {
  std::vector<std::uint64_t> own;
  for (const ParameterRef& parameter : parameters) {
    own.push_back(hash_of(parameter->value.host()));
  }
  const auto size = static_cast<std::size_t>(ranks.size());
  const std::vector<std::size_t> bytes(size, own.size() * sizeof(std::uint64_t));
  std::vector<std::uint64_t> all(size * own.size());
  ranks.all_gather(own.data(), bytes, all.data());
  for (std::size_t r = 1; r < size; ++r) {
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (all[r * own.size() + i] == all[i]) continue;
      throw failure(
          "after step {} '{}' is not the same on rank {} as on rank 0: the ranks no longer train "
          "one "
          "model; the last checkpoint is from before; look for a faulty machine, or ranks of "
          "different builds or processors",
          step, parameters[i]->name, r);
    }
  }
}

}  // namespace tapescope
