// oneDNN's engine and streams as this project uses them. Included by onednn.cpp only: dnnl.hpp is
// heavy.
#pragma once

#include <omp.h>

#include <dnnl.hpp>
#include <vector>

#include "engine/thread_pool.h"

namespace tapescope::onednn {

inline dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// oneDNN asks OpenMP how many threads to use, when a primitive is made and when it runs. Parallel
// work is ours: on every thread that calls it the answer is one.
inline dnnl::stream& stream_of_this_thread() {
  thread_local dnnl::stream stream = [] {
    omp_set_num_threads(1);
    return dnnl::stream(engine());
  }();
  return stream;
}

inline dnnl::memory::data_type data_type_of(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// Weights {channels, ...} from one layout to the other, by equal parts of the channels where they
// are many: a part a thread.
class Reorder {
 public:
  Reorder() = default;
  Reorder(std::int64_t channels, const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
    // Whole blocks of channels in every layout, and enough of them to be worth a thread.
    constexpr std::int64_t kChannels = 64;
    constexpr std::size_t kBytes = 128 << 10;
    if (channels % kChannels == 0 && channels > kChannels &&
        to.get_size() / static_cast<std::size_t>(channels / kChannels) >= kBytes) {
      dnnl::memory::dims extent = from.dims(), start(extent.size(), 0);
      extent[0] = kChannels;
      try {
        for (; start[0] < channels; start[0] += kChannels) {
          add(from.submemory_desc(extent, start), to.submemory_desc(extent, start));
        }
        return;
      } catch (const dnnl::error&) {  // a layout that cannot be cut so
        parts_.clear();
      }
    }
    add(from, to);
  }
  void run(const void* from, void* to) const {
    parallel_for(static_cast<std::int64_t>(parts_.size()), [&](std::int64_t k) {
      const Part& part = parts_[static_cast<std::size_t>(k)];
      part.primitive.execute(
          stream_of_this_thread(),
          {{DNNL_ARG_FROM, dnnl::memory(part.from, engine(), const_cast<void*>(from))},
           {DNNL_ARG_TO, dnnl::memory(part.to, engine(), to)}});
    });
  }

 private:
  struct Part {
    dnnl::primitive primitive;
    dnnl::memory::desc from, to;
  };
  void add(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
    parts_.push_back({dnnl::reorder({engine(), from, engine(), to}), from, to});
  }
  std::vector<Part> parts_;
};

}  // namespace tapescope::onednn
