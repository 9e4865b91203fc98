#include "kernels/cuda/cudnn_graph.h"

#include <algorithm>

#include "kernels/cuda/cudnn_library.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::cuda {
namespace {

constexpr std::int64_t kMostEngines = 16;                       // of the heuristics' list
constexpr std::int64_t kMostWorkspace = std::int64_t{1} << 30;  // bytes

// Whether an engine's arithmetic is what the table promises.
bool admissible(const Descriptor& config, DType dtype) {
  const Cudnn& dnn = cudnn();
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.raw();
  std::int64_t count = 0;
  dnn.check(dnn.backend_get(config.raw(), CUDNN_ATTR_ENGINECFG_ENGINE,
                            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw),
            "engine query");
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  dnn.check(dnn.backend_get(raw, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                            static_cast<std::int64_t>(notes.size()), &count, notes.data()),
            "engine query");
  // A newer library may know of more notes than its header here.
  count = std::clamp<std::int64_t>(count, 0, static_cast<std::int64_t>(notes.size()));
  return std::none_of(notes.begin(), notes.begin() + count, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        return dtype == DType::f32;
      default:
        return false;
    }
  });
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnn().check(cudnn().backend_create(type, &raw_), "descriptor");
}

Descriptor::~Descriptor() {
  if (raw_ != nullptr) cudnn().backend_destroy(raw_);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                            std::int64_t count, const void* values) {
  cudnn().check(cudnn().backend_set(raw_, name, type, count, values), "descriptor");
  return *this;
}

Descriptor& Descriptor::finalize(const char* what) {
  cudnn().check(cudnn().backend_finalize(raw_), what);
  return *this;
}

bool Descriptor::try_finalize() { return cudnn().backend_finalize(raw_) == CUDNN_STATUS_SUCCESS; }

Descriptor& make(Descriptors& all, cudnnBackendDescriptorType_t type) {
  return all.emplace_back(type);
}

Descriptor& image_tensor(Descriptors& all, std::int64_t id, DType dtype, std::int64_t N,
                         std::int64_t H, std::int64_t W, std::int64_t C, bool is_virtual) {
  const cudnnDataType_t type = dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  const std::array<std::int64_t, 4> extents = {N, C, H, W};
  const std::array<std::int64_t, 4> strides = {H * W * C, 1, W * C, C};
  Descriptor& tensor = make(all, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const std::int64_t alignment = kLibraryAlignment;
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(extents))
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const std::int64_t>(strides))
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
  return tensor.finalize("tensor");
}

std::unique_ptr<GraphPlan> GraphPlan::choose(Descriptors all,
                                             std::span<const cudnnBackendDescriptor_t> operations,
                                             DType dtype) {
  const Cudnn& dnn = cudnn();
  auto result = std::make_unique<GraphPlan>();
  result->all_ = std::move(all);
  Descriptor& graph = make(result->all_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations)
      .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, dnn.handle);
  if (!graph.try_finalize()) return nullptr;

  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor& heuristics = make(result->all_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    if (!heuristics.try_finalize()) continue;
    std::vector<const Descriptor*> configs;
    std::vector<cudnnBackendDescriptor_t> list;
    for (std::int64_t i = 0; i < kMostEngines; ++i) {
      configs.push_back(&make(result->all_, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
      list.push_back(configs.back()->raw());
    }
    std::int64_t count = 0;
    if (dnn.backend_get(heuristics.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                        CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostEngines, &count,
                        list.data()) != CUDNN_STATUS_SUCCESS) {
      continue;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(std::min(count, kMostEngines)); ++i) {
      if (!admissible(*configs[i], dtype)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, dnn.handle)
          .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *configs[i]);
      if (!plan.try_finalize()) continue;
      std::int64_t workspace = 0, one = 0;
      dnn.check(dnn.backend_get(plan.raw(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                CUDNN_TYPE_INT64, 1, &one, &workspace),
                "workspace query");
      if (workspace > kMostWorkspace) continue;
      result->plan_ = std::move(plan);
      result->workspace_ = static_cast<std::size_t>(workspace);
      return result;
    }
  }
  return nullptr;
}

void GraphPlan::run(const Queue& queue, std::span<const std::int64_t> ids,
                    std::span<void* const> memory, void* workspace) const {
  const Cudnn& dnn = cudnn();
  dnn.check(dnn.set_stream(dnn.handle, static_cast<cudaStream_t>(queue.native())), "stream");
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, memory)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize("variant pack");
  dnn.check(dnn.backend_execute(dnn.handle, plan_.raw(), pack.raw()), "execution");
}

}  // namespace tapescope::cuda
