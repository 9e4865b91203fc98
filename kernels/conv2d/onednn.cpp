#include "kernels/conv2d/onednn.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/chunks.h"
#include "kernels/conv2d/onednn_support.h"

namespace tapescope::onednn {

const std::string_view missing = "";

std::string version() {
  const dnnl_version_t& v = *dnnl_version();
  return fmt::format("{}.{}.{}", v.major, v.minor, v.patch);
}

namespace {

using dnnl::memory;
using Forward = dnnl::convolution_forward;
using DataGradient = dnnl::convolution_backward_data;
using WeightGradient = dnnl::convolution_backward_weights;

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Rows of an image's y, with the rows of x that they see.
struct Band {
  std::int64_t p = 0, P = 0;  // the first row of y, and how many
  std::int64_t h = 0, H = 0;  // of x
  std::int64_t pad = 0;       // rows of padding above
};
Band whole(const Conv2dShape& c) { return {0, c.P(), 0, c.H, c.pad_h}; }

// What one primitive is for: a band of each of some images.
struct Piece {
  const Conv2dShape& c;
  Band band;
  std::int64_t images;
};

struct Descriptors {
  memory::desc x, w_any, w_plain, bias, y;
  // f32 whatever the dtype: partial sums over the batch are added up in it.
  memory::desc dw_any, dw_plain;
  memory::dims strides, dilations, pads;
};

Descriptors describe(const Piece& piece) {
  const auto& [c, band, images] = piece;
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
  return {
      memory::desc({images, c.I, band.H, c.W}, type, nhwc),
      memory::desc(w, type, memory::format_tag::any),
      memory::desc(w, type, w_strides),
      c.bias ? memory::desc({c.O}, memory::data_type::f32, memory::format_tag::x) : memory::desc(),
      memory::desc({images, c.O, band.P, c.Q()}, type, nhwc),
      memory::desc(w, memory::data_type::f32, memory::format_tag::any),
      memory::desc(w, memory::data_type::f32, w_strides),
      {c.stride_h, c.stride_w},
      {c.dilation_h - 1, c.dilation_w - 1},
      {band.pad, c.pad_w}};
}

// The padding below and to the right that is really used: what the last window reaches.
memory::dims far_pads(const Piece& piece) {
  const auto& [c, band, images] = piece;
  const auto far = [](std::int64_t out, std::int64_t stride, std::int64_t kernel,
                      std::int64_t dilation, std::int64_t in, std::int64_t pad) {
    return (out - 1) * stride + dilation * (kernel - 1) + 1 - in - pad;
  };
  return {far(band.P, c.stride_h, c.KH, c.dilation_h, band.H, band.pad),
          far(c.Q(), c.stride_w, c.KW, c.dilation_w, c.W, c.pad_w)};
}

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

// oneDNN 3 makes primitive descriptors in one go, oneDNN 2 by way of an operation descriptor.
#if DNNL_VERSION_MAJOR >= 3
Forward::primitive_desc forward_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  return {engine(),
          dnnl::prop_kind::forward_training,
          kDirect,
          d.x,
          d.w_any,
          d.bias,
          d.y,
          d.strides,
          d.dilations,
          d.pads,
          far_pads(piece),
          user_scratchpad()};
}
DataGradient::primitive_desc data_gradient_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  return {engine(),         kDirect,     d.x,    d.w_any,         d.y,
          d.strides,        d.dilations, d.pads, far_pads(piece), forward_descriptor(piece),
          user_scratchpad()};
}
WeightGradient::primitive_desc weight_gradient_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  return {engine(),         kDirect,     d.x,    d.dw_any,        d.y,
          d.strides,        d.dilations, d.pads, far_pads(piece), forward_descriptor(piece),
          user_scratchpad()};
}
#else
Forward::primitive_desc forward_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  const Forward::desc op(dnnl::prop_kind::forward_training, kDirect, d.x, d.w_any, d.bias, d.y,
                         d.strides, d.dilations, d.pads, far_pads(piece));
  return {op, user_scratchpad(), engine()};
}
DataGradient::primitive_desc data_gradient_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  const DataGradient::desc op(kDirect, d.x, d.w_any, d.y, d.strides, d.dilations, d.pads,
                              far_pads(piece));
  return {op, user_scratchpad(), engine(), forward_descriptor(piece)};
}
WeightGradient::primitive_desc weight_gradient_descriptor(const Piece& piece) {
  const Descriptors d = describe(piece);
  const WeightGradient::desc op(kDirect, d.x, d.dw_any, d.y, d.strides, d.dilations, d.pads,
                                far_pads(piece));
  return {op, user_scratchpad(), engine(), forward_descriptor(piece)};
}
#endif

// A primitive for a piece, with the weights in the layout that it likes.
struct Prepared {
  dnnl::primitive primitive;
  Reorder reorder;  // packs or unpacks the weights
  memory::desc x, y, w_plain, w_packed, bias, scratchpad;
  bool reference = true;
};

template <class Descriptor, class Primitive>
std::shared_ptr<const Prepared> make(
    const Piece& piece, bool to_packed, Descriptor descriptor_of, Primitive make_primitive,
    memory::desc (*packed_of)(const decltype(descriptor_of(piece))&)) {
  auto prepared = std::make_shared<Prepared>();
  try {
    stream_of_this_thread();  // one thread, from the first descriptor on
    const auto descriptor = descriptor_of(piece);
    const Descriptors d = describe(piece);
    prepared->reference = std::strstr(descriptor.impl_info_str(), "ref") != nullptr;
    prepared->primitive = make_primitive(descriptor);
    prepared->x = d.x, prepared->y = d.y, prepared->bias = d.bias;
    prepared->w_plain = to_packed ? d.w_plain : d.dw_plain;
    prepared->w_packed = packed_of(descriptor);
    prepared->scratchpad = descriptor.scratchpad_desc();
    prepared->reorder = Reorder(piece.c.groups == 1 ? piece.c.O : 1,
                                to_packed ? prepared->w_plain : prepared->w_packed,
                                to_packed ? prepared->w_packed : prepared->w_plain);
  } catch (const dnnl::error&) {
    prepared->reference = true;  // no implementation: another variant takes the shape
  }
  return prepared;
}

enum class Kind { forward, data_gradient, weight_gradient };

std::shared_ptr<const Prepared> build(Kind kind, const Piece& piece) {
  switch (kind) {
    case Kind::forward:
      return make(
          piece, true, forward_descriptor,
          [](const auto& d) -> dnnl::primitive { return Forward(d); },
          +[](const Forward::primitive_desc& d) { return d.weights_desc(); });
    case Kind::data_gradient:
      return make(
          piece, true, data_gradient_descriptor,
          [](const auto& d) -> dnnl::primitive { return DataGradient(d); },
          +[](const DataGradient::primitive_desc& d) { return d.weights_desc(); });
    case Kind::weight_gradient:
      return make(
          piece, false, weight_gradient_descriptor,
          [](const auto& d) -> dnnl::primitive { return WeightGradient(d); },
          +[](const WeightGradient::primitive_desc& d) { return d.diff_weights_desc(); });
  }
  return nullptr;
}

// Primitives are made once per shape of a piece.
std::shared_ptr<const Prepared> prepared(Kind kind, const Piece& piece) {
  const auto& [c, band, images] = piece;
  const auto key =
      std::make_tuple(kind, c.dtype, c.bias, band.H, c.W, c.I, c.O, c.KH, c.KW,
                      std::make_tuple(c.stride_h, c.stride_w, band.pad, c.pad_w, c.dilation_h,
                                      c.dilation_w, c.groups, images, band.P));
  static std::mutex mutex;
  static auto* cache = new std::map<decltype(key), std::shared_ptr<const Prepared>>;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Prepared>& slot = (*cache)[key];
  if (!slot) slot = build(kind, piece);
  return slot;
}

// Images and their bands are cut into at most about this many chunks of parallel work, each with a
// scratchpad of its own.
constexpr std::int64_t kChunks = 32;

// How each image of a batch is worked on: whole, or in bands that threads share, so that one image
// alone keeps more than one of them busy. Bands follow from the image's shape, never from the batch
// or the threads: they may change how oneDNN adds up.
struct Images {
  std::vector<Band> bands;
  std::vector<std::shared_ptr<const Prepared>> prepared;  // one per band

  const Prepared& first() const { return *prepared[0]; }
  // Of c.N images.
  std::int64_t chunks(const Conv2dShape& c) const {
    const auto count = static_cast<std::int64_t>(bands.size());
    return std::min(c.N, std::max<std::int64_t>(1, kChunks / count));
  }
  std::size_t scratch_bytes() const {  // of one piece
    std::size_t most = 0;
    for (const auto& p : prepared) most = std::max(most, aligned(p->scratchpad.get_size()));
    return most;
  }
  std::size_t scratch_bytes(const Conv2dShape& c) const {
    return static_cast<std::size_t>(chunks(c)) * bands.size() * scratch_bytes();
  }
};

Images whole_images(Kind kind, const Conv2dShape& c) {
  return {{whole(c)}, {prepared(kind, {c, whole(c), 1})}};
}

// Bands of at least this many multiply-adds, some tens of microseconds, and of as many rows as keep
// what two bands both read small: the borders, and the weights, which are read in each band.
constexpr std::int64_t kBandMacs = 1'000'000, kMostBands = 8;
constexpr std::int64_t kBandRows = 4,
                       kFusedBandRows = 3;  // one image of a net that answers: 7 rows

Images banded_images(const Conv2dShape& c, std::int64_t least_rows) {
  const std::int64_t P = c.P();
  const std::int64_t macs = P * c.Q() * c.O * c.KH * c.KW * (c.I / c.groups);
  const std::int64_t count = std::min({macs / kBandMacs, P / least_rows, kMostBands});
  if (count < 2) return whole_images(Kind::forward, c);
  Images images;
  for (std::int64_t i = 0; i < count; ++i) {
    Band band;
    band.p = i * P / count;
    band.P = (i + 1) * P / count - band.p;
    const std::int64_t top = band.p * c.stride_h - c.pad_h;
    const std::int64_t end = top + (band.P - 1) * c.stride_h + c.dilation_h * (c.KH - 1) + 1;
    band.h = std::max<std::int64_t>(top, 0);
    band.H = std::min(end, c.H) - band.h;
    band.pad = band.h - top;
    images.bands.push_back(band);
    images.prepared.push_back(band.H > 0 ? prepared(Kind::forward, {c, band, 1}) : nullptr);
    const Prepared* p = images.prepared.back().get();
    // All must read the weights in one layout.
    if (p == nullptr || p->reference || p->w_packed != images.first().w_packed) {
      return whole_images(Kind::forward, c);
    }
  }
  return images;
}

// `in` and `out` are x and y, or dy and dx.
struct ImageArguments {
  int in_argument, out_argument;
  const void* in;
  void* out;
  const void *bias, *weights;
  bool gradient;
  const FusedConv2dShape* then = nullptr;  // what a forward convolution goes on with
  const void* residual = nullptr;
};

void run_images(const Images& images, const Conv2dShape& c, const ImageArguments& arguments,
                char* scratchpads) {
  const auto bands = static_cast<std::int64_t>(images.bands.size());
  const std::int64_t chunks = images.chunks(c);
  const std::size_t scratch_bytes = images.scratch_bytes(), size = size_of(c.dtype);
  const auto x_row = static_cast<std::size_t>(c.W * c.I) * size;
  const auto y_row = static_cast<std::size_t>(c.Q() * c.O) * size;
  parallel_for(chunks * bands, [&](std::int64_t piece) {
    const Band& band = images.bands[static_cast<std::size_t>(piece % bands)];
    const Prepared& p = *images.prepared[static_cast<std::size_t>(piece % bands)];
    const std::int64_t chunk = piece / bands;
    memory x(p.x, engine(), nullptr), y(p.y, engine(), nullptr);
    memory& source = arguments.gradient ? y : x;
    memory& target = arguments.gradient ? x : y;
    std::unordered_map<int, memory> all = {
        {arguments.in_argument, source},
        {arguments.out_argument, target},
        {DNNL_ARG_WEIGHTS, memory(p.w_packed, engine(), const_cast<void*>(arguments.weights))}};
    if (arguments.bias != nullptr) {
      all.emplace(DNNL_ARG_BIAS, memory(p.bias, engine(), const_cast<void*>(arguments.bias)));
    }
    if (scratch_bytes > 0) {
      all.emplace(DNNL_ARG_SCRATCHPAD,
                  memory(p.scratchpad, engine(),
                         scratchpads + static_cast<std::size_t>(piece) * scratch_bytes));
    }
    for (std::int64_t n = chunk * c.N / chunks; n < (chunk + 1) * c.N / chunks; ++n) {
      const std::size_t x_at = static_cast<std::size_t>(n * c.H + band.h) * x_row;
      const std::size_t y_at = static_cast<std::size_t>(n * c.P() + band.p) * y_row;
      source.set_data_handle(const_cast<char*>(static_cast<const char*>(arguments.in)) +
                             (arguments.gradient ? y_at : x_at));
      target.set_data_handle(static_cast<char*>(arguments.out) +
                             (arguments.gradient ? x_at : y_at));
      p.primitive.execute(stream_of_this_thread(), all);
      if (arguments.then != nullptr) {
        const auto first = static_cast<std::int64_t>(y_at / size);
        finish(*arguments.then, arguments.residual, arguments.out, first,
               first + band.P * c.Q() * c.O);
      }
    }
  });
}

// Without instructions for bf16 oneDNN imitates them, more slowly than f32.
bool has_arithmetic(DType dtype) {
  if (dtype != DType::bf16) return true;
  const auto best = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return isa() >= Isa::avx512 && (best & needed) == needed;
}

bool supports(Kind kind, const Conv2dShape& c) {
  return c.N > 0 && has_arithmetic(c.dtype) && !prepared(kind, {c, whole(c), 1})->reference;
}

// The weight gradient is a sum over the batch: chunks of it, each summed by one primitive. Few
// where the weights are large, since each chunk has a copy.
struct BatchCut : Chunks {
  std::vector<std::shared_ptr<const Prepared>>
      prepared;  // by chunk; null where there are no images
  std::shared_ptr<const Prepared> any;
};
BatchCut cut_batch(const Conv2dShape& c) {
  const bool large = c.O * c.KH * c.KW * (c.I / c.groups) > (1 << 19);
  const std::int64_t most = c.pieces > 0 ? (large ? 1 : 4) : (large ? 4 : 16);
  const std::int64_t pieces = std::max<std::int64_t>(1, c.pieces);
  BatchCut cut;
  for (std::int64_t i = 0; i < pieces; ++i) {
    cut.first_chunk.push_back(cut.count());
    const RowRange piece = piece_of(c.N, i, pieces);
    if (piece.count == 0) cut.chunks.push_back(piece);
    const std::int64_t wanted = std::clamp<std::int64_t>(piece.count, 1, most);
    const std::int64_t images = (piece.count + wanted - 1) / wanted;  // the last may hold fewer
    for (std::int64_t n = 0; n < piece.count; n += images) {
      cut.chunks.push_back({piece.first + n, std::min(images, piece.count - n)});
    }
  }
  cut.first_chunk.push_back(cut.count());
  for (const RowRange& chunk : cut.chunks) {
    cut.prepared.push_back(
        chunk.count > 0 ? prepared(Kind::weight_gradient, {c, whole(c), chunk.count}) : nullptr);
    if (chunk.count > 0) cut.any = cut.prepared.back();
  }
  return cut;
}

// The pixels of an image that a 1x1 convolution with a stride reads, gathered by oneDNN (2.6.3, AVX2)
// in whole vectors of channels: with fewer channels it writes behind the scratchpad it asked for.
std::size_t gathered_bytes(const Conv2dShape& c) {
  constexpr std::int64_t kMostLanes = 16;
  const std::int64_t channels = (c.I + kMostLanes - 1) / kMostLanes * kMostLanes;
  return aligned(static_cast<std::size_t>(c.P() * c.Q() * channels) * sizeof(float));
}

// The name of a layout of weights, equal for equal ones; it lives as long as the process.
std::string_view layout_name(const memory::desc& layout) {
  static std::mutex mutex;
  static auto* names = new std::list<std::pair<memory::desc, std::string>>;
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [known, name] : *names) {
    if (known == layout) return name;
  }
  names->emplace_back(layout, fmt::format("onednn {}", names->size()));
  return names->back().second;
}

// Forward, or the data gradient.
struct Kernel {
  Conv2dShape c;
  Images images;
  bool gradient;
  std::shared_ptr<const FusedConv2dShape> then = nullptr;

  std::size_t packed_bytes() const { return aligned(images.first().w_packed.get_size()); }
  void pack(const Queue&, const void* weights, void* packed) const {
    images.first().reorder.run(weights, packed);
  }
  void operator()(const Queue& queue, const Buffers& b) const {
    char* scratchpads = static_cast<char*>(b.workspace);
    const void* packed = b.packed;
    if (packed == nullptr) {
      pack(queue, b.in[1], scratchpads + images.scratch_bytes(c));
      packed = scratchpads + images.scratch_bytes(c);
    }
    run_images(
        images, c,
        {gradient ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, gradient ? DNNL_ARG_DIFF_SRC : DNNL_ARG_DST,
         b.in[0], b.out[0], c.bias && !gradient ? b.in[2] : nullptr, packed, gradient, then.get(),
         then != nullptr && then->residual ? b.in[3] : nullptr},
        scratchpads);
  }
};
Plan plan(Kernel kernel) {
  const std::size_t packed = kernel.packed_bytes();
  const Packing packing{layout_name(kernel.images.first().w_packed), packed};
  const std::size_t workspace = kernel.images.scratch_bytes(kernel.c) + packed;
  return Plan("onednn", workspace, std::move(kernel), packing);
}

}  // namespace

bool supports_conv2d(const Conv2dShape& c) { return supports(Kind::forward, c); }
bool supports_conv2d_data_gradient(const Conv2dShape& c) {
  return supports(Kind::data_gradient, c);
}
bool supports_conv2d_weight_gradient(const Conv2dShape& c) {
  if (c.N == 0 || !has_arithmetic(c.dtype)) return false;
  // bf16 is multiplied by pairs of channels: of one, f32 is twice as fast.
  if (c.dtype == DType::bf16 && c.I == 1) return false;
  // All must write one layout for their sums to be added; oneDNN picks it by channels.
  const BatchCut cut = cut_batch(c);
  return std::all_of(cut.prepared.begin(), cut.prepared.end(), [&](const auto& p) {
    return p == nullptr || (!p->reference && p->w_packed == cut.any->w_packed);
  });
}

Plan conv2d(const Conv2dShape& c) { return plan({c, banded_images(c, kBandRows), false}); }
Plan conv2d_fused(const FusedConv2dShape& f) {
  return plan({f.conv, banded_images(f.conv, kFusedBandRows), false,
               std::make_shared<const FusedConv2dShape>(f)});
}
Plan conv2d_data_gradient(const Conv2dShape& c) {
  return plan({c, whole_images(Kind::data_gradient, c), true});
}

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  auto cut = std::make_shared<const BatchCut>(cut_batch(c));
  const std::size_t sum_bytes = aligned(cut->any->w_packed.get_size());
  std::size_t scratch_bytes = 0;
  for (const auto& p : cut->prepared) {
    if (p != nullptr) scratch_bytes = std::max(scratch_bytes, aligned(p->scratchpad.get_size()));
  }
  if (c.KH * c.KW == 1 && c.stride_h * c.stride_w > 1) {
    scratch_bytes = std::max(scratch_bytes, gathered_bytes(c));
  }
  const std::size_t x_image = static_cast<std::size_t>(c.H * c.W * c.I) * size_of(c.dtype);
  const std::size_t y_image = static_cast<std::size_t>(c.P() * c.Q() * c.O) * size_of(c.dtype);
  const std::size_t workspace = cut->chunks.size() * (sum_bytes + scratch_bytes);
  return Plan("onednn", workspace, [=](const Queue&, const Buffers& b) {
    char* sums = static_cast<char*>(b.workspace);
    char* scratchpads = sums + cut->chunks.size() * sum_bytes;
    parallel_for(cut->count(), [&](std::int64_t i) {
      const auto k = static_cast<std::size_t>(i);
      if (cut->prepared[k] == nullptr) {
        std::memset(sums + k * sum_bytes, 0, sum_bytes);
        return;
      }
      const Prepared& p = *cut->prepared[k];
      const auto first = static_cast<std::size_t>(cut->chunks[k].first);
      char* x = const_cast<char*>(static_cast<const char*>(b.in[0])) + first * x_image;
      char* dy = const_cast<char*>(static_cast<const char*>(b.in[1])) + first * y_image;
      p.primitive.execute(
          stream_of_this_thread(),
          {{DNNL_ARG_SRC, memory(p.x, engine(), x)},
           {DNNL_ARG_DIFF_DST, memory(p.y, engine(), dy)},
           {DNNL_ARG_DIFF_WEIGHTS, memory(p.w_packed, engine(), sums + k * sum_bytes)},
           {DNNL_ARG_SCRATCHPAD, memory(p.scratchpad, engine(), scratchpads + k * scratch_bytes)}});
    });
    add_chunks(*cut, static_cast<std::int64_t>(cut->any->w_packed.get_size() / sizeof(float)),
               sum_bytes, sums);
    cut->any->reorder.run(sums, b.out[0]);
  });
}

}  // namespace tapescope::onednn
