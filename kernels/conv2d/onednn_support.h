// oneDNN's engine and streams as this project uses them. Included by onednn.cpp only: dnnl.hpp is
// heavy.
#pragma once

#include <omp.h>

#include <dnnl.hpp>

#include "engine/type.h"

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

}  // namespace tapescope::onednn
