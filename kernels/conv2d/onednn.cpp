#include "kernels/conv2d/onednn.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "engine/thread_pool.h"
#include "kernels/common/onednn_support.h"

namespace tapescope::onednn {

const std::string_view missing = "";

namespace {

using dnnl::memory;
using Forward = dnnl::convolution_forward;
using DataGradient = dnnl::convolution_backward_data;
using WeightGradient = dnnl::convolution_backward_weights;

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// The descriptors of a convolution of `images` images.
struct Descriptors {
  memory::desc x, w_any, w_plain, bias, y;
  memory::desc dw_any;  // f32 whatever the dtype: partial sums over the batch are added up in it
  memory::dims strides, dilations, pads;
};

Descriptors describe(const Conv2dShape& c, std::int64_t images) {
  const auto type = data_type_of(c.dtype);
  const auto nhwc = memory::format_tag::nhwc;
  const std::int64_t O = c.O / c.groups, I = c.I / c.groups;
  const bool grouped = c.groups > 1;
  const memory::dims w =
      grouped ? memory::dims{c.groups, O, I, c.KH, c.KW} : memory::dims{O, I, c.KH, c.KW};
  // Ours are {O, KH, KW, I}; strides say so in oneDNN's order (groups, O, I, KH, KW).
  const memory::dims w_strides =
      grouped ? memory::dims{O * c.KH * c.KW * I, c.KH * c.KW * I, 1, c.KW * I, I}
              : memory::dims{c.KH * c.KW * I, 1, c.KW * I, I};
  return {memory::desc({images, c.I, c.H, c.W}, type, nhwc),
          memory::desc(w, type, memory::format_tag::any),
          memory::desc(w, type, w_strides),
          c.bias ? memory::desc({c.O}, type, memory::format_tag::x) : memory::desc(),
          memory::desc({images, c.O, c.P(), c.Q()}, type, nhwc),
          memory::desc(w, memory::data_type::f32, memory::format_tag::any),
          {c.stride_h, c.stride_w},
          {c.dilation_h - 1, c.dilation_w - 1},
          {c.pad_h, c.pad_w}};
}

// The padding below and to the right that is really used: what the last window reaches.
memory::dims far_pads(const Conv2dShape& c) {
  const auto far = [](std::int64_t out, std::int64_t stride, std::int64_t kernel,
                      std::int64_t dilation, std::int64_t in, std::int64_t pad) {
    return (out - 1) * stride + dilation * (kernel - 1) + 1 - in - pad;
  };
  return {far(c.P(), c.stride_h, c.KH, c.dilation_h, c.H, c.pad_h),
          far(c.Q(), c.stride_w, c.KW, c.dilation_w, c.W, c.pad_w)};
}

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

// oneDNN 3 makes primitive descriptors in one go, oneDNN 2 by way of an operation descriptor.
#if DNNL_VERSION_MAJOR >= 3
Forward::primitive_desc forward_descriptor(const Conv2dShape& c, std::int64_t images) {
  const Descriptors d = describe(c, images);
  return {engine(),    dnnl::prop_kind::forward_training,
          kDirect,     d.x,
          d.w_any,     d.bias,
          d.y,         d.strides,
          d.dilations, d.pads,
          far_pads(c), user_scratchpad()};
}
DataGradient::primitive_desc data_gradient_descriptor(const Conv2dShape& c, std::int64_t images) {
  const Descriptors d = describe(c, images);
  return {engine(),         kDirect,     d.x,    d.w_any,     d.y,
          d.strides,        d.dilations, d.pads, far_pads(c), forward_descriptor(c, images),
          user_scratchpad()};
}
WeightGradient::primitive_desc weight_gradient_descriptor(const Conv2dShape& c,
                                                          std::int64_t images) {
  const Descriptors d = describe(c, images);
  return {engine(),         kDirect,     d.x,    d.dw_any,    d.y,
          d.strides,        d.dilations, d.pads, far_pads(c), forward_descriptor(c, images),
          user_scratchpad()};
}
#else
Forward::primitive_desc forward_descriptor(const Conv2dShape& c, std::int64_t images) {
  const Descriptors d = describe(c, images);
  const Forward::desc op(dnnl::prop_kind::forward_training, kDirect, d.x, d.w_any, d.bias, d.y,
                         d.strides, d.dilations, d.pads, far_pads(c));
  return {op, user_scratchpad(), engine()};
}
DataGradient::primitive_desc data_gradient_descriptor(const Conv2dShape& c, std::int64_t images) {
  const Descriptors d = describe(c, images);
  const DataGradient::desc op(kDirect, d.x, d.w_any, d.y, d.strides, d.dilations, d.pads,
                              far_pads(c));
  return {op, user_scratchpad(), engine(), forward_descriptor(c, images)};
}
WeightGradient::primitive_desc weight_gradient_descriptor(const Conv2dShape& c,
                                                          std::int64_t images) {
  const Descriptors d = describe(c, images);
  const WeightGradient::desc op(kDirect, d.x, d.dw_any, d.y, d.strides, d.dilations, d.pads,
                                far_pads(c));
  return {op, user_scratchpad(), engine(), forward_descriptor(c, images)};
}
#endif

// A primitive for a fixed number of images, with the weights in the layout that it likes.
struct Prepared {
  dnnl::primitive primitive, reorder;
  memory::desc x, y, w_plain, w_packed, bias, scratchpad;
  bool reference = true;
};

template <class Descriptor, class Primitive>
std::shared_ptr<const Prepared> make(
    const Conv2dShape& c, std::int64_t images, bool to_packed, Descriptor descriptor_of,
    Primitive make_primitive,
    memory::desc (*packed_of)(const decltype(descriptor_of(c, images))&)) {
  auto prepared = std::make_shared<Prepared>();
  try {
    stream_of_this_thread();  // one thread, from the first descriptor on
    const auto descriptor = descriptor_of(c, images);
    const Descriptors d = describe(c, images);
    prepared->reference = std::strstr(descriptor.impl_info_str(), "ref") != nullptr;
    prepared->primitive = make_primitive(descriptor);
    prepared->x = d.x, prepared->y = d.y, prepared->bias = d.bias;
    prepared->w_plain = d.w_plain;
    prepared->w_packed = packed_of(descriptor);
    prepared->scratchpad = descriptor.scratchpad_desc();
    const memory::desc& from = to_packed ? d.w_plain : prepared->w_packed;
    const memory::desc& to = to_packed ? prepared->w_packed : d.w_plain;
    prepared->reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
  } catch (const dnnl::error&) {
    prepared->reference = true;  // no implementation: another variant takes the shape
  }
  return prepared;
}

enum class Kind { forward, data_gradient, weight_gradient };

std::shared_ptr<const Prepared> build(Kind kind, const Conv2dShape& c, std::int64_t images) {
  switch (kind) {
    case Kind::forward:
      return make(
          c, images, true, forward_descriptor,
          [](const auto& d) -> dnnl::primitive { return Forward(d); },
          +[](const Forward::primitive_desc& d) { return d.weights_desc(); });
    case Kind::data_gradient:
      return make(
          c, images, true, data_gradient_descriptor,
          [](const auto& d) -> dnnl::primitive { return DataGradient(d); },
          +[](const DataGradient::primitive_desc& d) { return d.weights_desc(); });
    case Kind::weight_gradient:
      return make(
          c, images, false, weight_gradient_descriptor,
          [](const auto& d) -> dnnl::primitive { return WeightGradient(d); },
          +[](const WeightGradient::primitive_desc& d) { return d.diff_weights_desc(); });
  }
  return nullptr;
}

// Primitives are made once per shape of an image (or of a chunk of them).
std::shared_ptr<const Prepared> prepared(Kind kind, const Conv2dShape& c, std::int64_t images) {
  const auto key = std::make_tuple(kind, c.dtype, c.bias, c.H, c.W, c.I, c.O, c.KH, c.KW,
                                   std::make_tuple(c.stride_h, c.stride_w, c.pad_h, c.pad_w,
                                                   c.dilation_h, c.dilation_w, c.groups, images));
  static std::mutex mutex;
  static auto* cache = new std::map<decltype(key), std::shared_ptr<const Prepared>>;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Prepared>& slot = (*cache)[key];
  if (!slot) slot = build(kind, c, images);
  return slot;
}

// Images are cut into at most this many chunks of parallel work, each with a scratchpad of its own.
constexpr std::int64_t kChunks = 32;

void reorder(const Prepared& p, const memory::desc& from_desc, const void* from,
             const memory::desc& to_desc, void* to) {
  memory source(from_desc, engine(), const_cast<void*>(from));
  memory target(to_desc, engine(), to);
  p.reorder.execute(stream_of_this_thread(), {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}});
}

// One image after another through `p`: `in` and `out` step by their image's bytes.
struct ImageArguments {
  int in_argument, out_argument;
  const memory::desc *in, *out;
};

void run_images(const Prepared& p, const Conv2dShape& c, const ImageArguments& arguments,
                const void* in, void* out, const void* bias, const void* weights,
                char* scratchpads) {
  const std::size_t in_bytes = arguments.in->get_size(), out_bytes = arguments.out->get_size();
  const std::size_t scratch_bytes = aligned(p.scratchpad.get_size());
  const std::int64_t chunks = std::min(kChunks, c.N);
  parallel_for(chunks, [&](std::int64_t chunk) {
    dnnl::stream& stream = stream_of_this_thread();
    memory source(*arguments.in, engine(), nullptr), target(*arguments.out, engine(), nullptr);
    std::unordered_map<int, memory> all = {
        {arguments.in_argument, source},
        {arguments.out_argument, target},
        {DNNL_ARG_WEIGHTS, memory(p.w_packed, engine(), const_cast<void*>(weights))}};
    if (bias != nullptr) {
      all.emplace(DNNL_ARG_BIAS, memory(p.bias, engine(), const_cast<void*>(bias)));
    }
    if (scratch_bytes > 0) {
      all.emplace(DNNL_ARG_SCRATCHPAD,
                  memory(p.scratchpad, engine(),
                         scratchpads + static_cast<std::size_t>(chunk) * scratch_bytes));
    }
    for (std::int64_t n = chunk * c.N / chunks; n < (chunk + 1) * c.N / chunks; ++n) {
      const auto i = static_cast<std::size_t>(n);
      source.set_data_handle(const_cast<char*>(static_cast<const char*>(in)) + i * in_bytes);
      target.set_data_handle(static_cast<char*>(out) + i * out_bytes);
      p.primitive.execute(stream, all);
    }
  });
}

std::size_t images_workspace(const Prepared& p, const Conv2dShape& c) {
  return aligned(p.w_packed.get_size()) +
         static_cast<std::size_t>(std::min(kChunks, c.N)) * aligned(p.scratchpad.get_size());
}

bool supports(Kind kind, const Conv2dShape& c) {
  return c.N > 0 && !prepared(kind, c, 1)->reference;
}

// The weight gradient is a sum over the batch: chunks of it, each summed by one primitive, then
// added in order. Few chunks where the weights are large, since each chunk has a copy.
struct BatchCut {
  std::int64_t chunks, images;  // the last chunk may hold fewer images
};
BatchCut cut_batch(const Conv2dShape& c) {
  const std::int64_t weights = c.O * c.KH * c.KW * (c.I / c.groups);
  const std::int64_t wanted = std::min<std::int64_t>(c.N, weights > (1 << 19) ? 4 : 16);
  const std::int64_t images = (c.N + wanted - 1) / wanted;
  return {(c.N + images - 1) / images, images};
}

struct BatchPrimitives {
  std::shared_ptr<const Prepared> whole, last;  // for a chunk, and for the last one
};
BatchPrimitives batch_primitives(const Conv2dShape& c) {
  const BatchCut cut = cut_batch(c);
  return {prepared(Kind::weight_gradient, c, cut.images),
          prepared(Kind::weight_gradient, c, c.N - (cut.chunks - 1) * cut.images)};
}

void add_chunks(std::int64_t elements, std::int64_t chunks, std::size_t stride_bytes, char* sums) {
  parallel_ranges(elements, 16 * 1024, [&](std::int64_t begin, std::int64_t end) {
    float* to = reinterpret_cast<float*>(sums);
    for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
      const float* from =
          reinterpret_cast<const float*>(sums + static_cast<std::size_t>(chunk) * stride_bytes);
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  });
}

}  // namespace

bool supports_conv2d(const Conv2dShape& c) { return supports(Kind::forward, c); }
bool supports_conv2d_data_gradient(const Conv2dShape& c) {
  return supports(Kind::data_gradient, c);
}
bool supports_conv2d_weight_gradient(const Conv2dShape& c) {
  if (c.N == 0) return false;
  const BatchPrimitives p = batch_primitives(c);
  // Both must write one layout for their sums to be added; oneDNN picks it by channels.
  return !p.whole->reference && !p.last->reference && p.whole->w_packed == p.last->w_packed;
}

Plan conv2d(const Conv2dShape& c) {
  const auto p = prepared(Kind::forward, c, 1);
  return Plan("onednn", images_workspace(*p, c), [c, p](const Queue&, const Buffers& b) {
    char* packed = static_cast<char*>(b.workspace);
    reorder(*p, p->w_plain, b.in[1], p->w_packed, packed);
    run_images(*p, c, {DNNL_ARG_SRC, DNNL_ARG_DST, &p->x, &p->y}, b.in[0], b.out[0],
               c.bias ? b.in[2] : nullptr, packed, packed + aligned(p->w_packed.get_size()));
  });
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  const auto p = prepared(Kind::data_gradient, c, 1);
  return Plan("onednn", images_workspace(*p, c), [c, p](const Queue&, const Buffers& b) {
    char* packed = static_cast<char*>(b.workspace);
    reorder(*p, p->w_plain, b.in[1], p->w_packed, packed);
    run_images(*p, c, {DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, &p->y, &p->x}, b.in[0], b.out[0],
               nullptr, packed, packed + aligned(p->w_packed.get_size()));
  });
}

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  const BatchCut cut = cut_batch(c);
  const auto [whole, last] = batch_primitives(c);
  const std::size_t sum_bytes = aligned(whole->w_packed.get_size());
  const std::size_t scratch_bytes =
      aligned(std::max(whole->scratchpad.get_size(), last->scratchpad.get_size()));
  const std::size_t workspace = static_cast<std::size_t>(cut.chunks) * (sum_bytes + scratch_bytes);
  return Plan("onednn", workspace, [=, whole = whole, last = last](const Queue&, const Buffers& b) {
    char* sums = static_cast<char*>(b.workspace);
    char* scratchpads = sums + static_cast<std::size_t>(cut.chunks) * sum_bytes;
    const std::size_t x_image = whole->x.get_size() / static_cast<std::size_t>(cut.images);
    const std::size_t y_image = whole->y.get_size() / static_cast<std::size_t>(cut.images);
    parallel_for(cut.chunks, [&](std::int64_t chunk) {
      const Prepared& p = chunk + 1 == cut.chunks ? *last : *whole;
      const auto k = static_cast<std::size_t>(chunk);
      const auto first = k * static_cast<std::size_t>(cut.images);
      char* x = const_cast<char*>(static_cast<const char*>(b.in[0])) + first * x_image;
      char* dy = const_cast<char*>(static_cast<const char*>(b.in[1])) + first * y_image;
      p.primitive.execute(
          stream_of_this_thread(),
          {{DNNL_ARG_SRC, memory(p.x, engine(), x)},
           {DNNL_ARG_DIFF_DST, memory(p.y, engine(), dy)},
           {DNNL_ARG_DIFF_WEIGHTS, memory(p.w_packed, engine(), sums + k * sum_bytes)},
           {DNNL_ARG_SCRATCHPAD, memory(p.scratchpad, engine(), scratchpads + k * scratch_bytes)}});
    });
    const auto elements = static_cast<std::int64_t>(whole->w_packed.get_size() / sizeof(float));
    add_chunks(elements, cut.chunks, sum_bytes, sums);
    reorder(*whole, whole->w_packed, sums, whole->w_plain, b.out[0]);
  });
}

}  // namespace tapescope::onednn
