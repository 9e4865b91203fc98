// Matrix product by cuBLASLt: the ladder's yardstick. See kernels/matmul/matmul.h.
#include "kernels/matmul/cublas.h"

#include <cuda_runtime_api.h>

#include <memory>

#include "kernels/cuda/cublas_library.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::cublas {
namespace {

using cuda::CublasLt;

constexpr std::size_t kWorkspace = 32 << 20;  // what NVIDIA advises on Hopper

// What a prepared product keeps. cuBLASLt is column-major: a row-major {M,N} is its {N,M}, so the
// product asked for is transposed as a whole, c^T = op(b)^T op(a)^T.
struct Product {
  CublasLt& lt = cuda::cublas();
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace = 0;
  bool bias = false;

  explicit Product(const MatmulShape& s) : bias(s.bias) {
    const cudaDataType_t type = s.dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
    lt.check(lt.desc_create(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor");
    const cublasOperation_t first = s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, first);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second);
    if (bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
      // What alignment the algorithm may count on is read off this address, which run() replaces.
      const std::uintptr_t aligned = cuda::kLibraryAlignment;
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, aligned);
    }
    layout(b, type, s.transpose_b ? s.K : s.N, s.transpose_b ? s.N : s.K);
    layout(a, type, s.transpose_a ? s.M : s.K, s.transpose_a ? s.K : s.M);
    layout(c, s.wide ? CUDA_R_32F : type, s.N, s.M);
    choose();
  }
  ~Product() {
    for (cublasLtMatrixLayout_t layout : {a, b, c}) {
      if (layout != nullptr) lt.layout_destroy(layout);
    }
    if (operation != nullptr) lt.desc_destroy(operation);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    lt.check(lt.desc_set(operation, attribute, &value, sizeof value), "descriptor");
  }
  void layout(cublasLtMatrixLayout_t& result, cudaDataType_t type, std::int64_t rows,
              std::int64_t columns) {
    lt.check(lt.layout_create(&result, type, static_cast<std::uint64_t>(rows),
                              static_cast<std::uint64_t>(columns), rows),
             "layout");
  }
  void choose() {
    cublasLtMatmulPreference_t preference = nullptr;
    lt.check(lt.preference_create(&preference), "preference");
    const std::size_t most = kWorkspace;
    lt.check(
        lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
        "preference");
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      const std::uint32_t alignment = cuda::kLibraryAlignment;
      lt.check(lt.preference_set(preference, attribute, &alignment, sizeof alignment),
               "preference");
    }
    // No sums by atomic additions: equal bits at every run. And none of partial sums that were
    // rounded to the output's dtype: those of bf16 are f32.
    const std::uint32_t schemes =
        CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    lt.check(lt.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                               sizeof schemes),
             "preference");
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status =
        lt.heuristic(lt.handle, operation, b, a, c, c, preference, 1, &found, &count);
    lt.preference_destroy(preference);
    lt.check(status, "choosing an algorithm");
    if (count == 0) throw failure("[cublas] has no algorithm for this matrix product");
    algorithm = found.algo;
    workspace = found.workspaceSize;
  }

  void run(const Queue& queue, const Buffers& buffers) const {
    for (const void* pointer :
         {buffers.in[0], buffers.in[1], const_cast<const void*>(buffers.out[0])}) {
      cuda::check_aligned("cublas", pointer);
    }
    if (bias) {
      const void* values = buffers.in[2];  // {N}
      cuda::check_aligned("cublas", values);
      lt.check(lt.desc_set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &values, sizeof values),
               "bias");
    }
    const float one = 1, zero = 0;
    lt.check(lt.matmul(lt.handle, operation, &one, buffers.in[1], b, buffers.in[0], a, &zero,
                       buffers.out[0], c, buffers.out[0], c, &algorithm, buffers.workspace,
                       workspace, static_cast<cudaStream_t>(queue.native())),
             "matmul");
  }
};

}  // namespace

const char* why_missing() { return cuda::cublas().why_missing.c_str(); }

// It adds a bias of the result's own dtype only; that of bf16 is f32.
bool supports_matmul(const MatmulShape& s) {
  return s.M > 0 && s.N > 0 && s.K > 0 && !(s.bias && s.dtype == DType::bf16);
}

Plan matmul(const MatmulShape& s) {
  auto product = std::make_unique<Product>(s);
  const std::size_t workspace = product->workspace;
  return Plan("cublas", workspace,
              [product = std::move(product)](const Queue& queue, const Buffers& buffers) {
                product->run(queue, buffers);
              });
}

}  // namespace tapescope::cublas
