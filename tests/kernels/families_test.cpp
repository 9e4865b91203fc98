// The list of families: a table is found under the name and the type that the list gives it.
#include "kernels/families.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/error.h"

namespace tapescope {
namespace {

TEST(Families, ATableIsNotReadAsAnotherFamilysType) {
  const auto tables = gpu_tables(DeviceKind::emulated);
  EXPECT_EQ(find_variants<MatmulShape>(tables, "matmul").rows.size(), 6u);
  EXPECT_TRUE(find_variants<MatmulShape>(tables, "no such family").rows.empty());
  try {
    gpu_variants<MatmulShape>(DeviceKind::emulated, "conv2d");
    FAIL() << "a table of Conv2dShape was read as one of MatmulShape";
  } catch (const Error& error) {
    const std::string text = error.what();
    for (const char* part :
         {"[conv2d]", "tapescope::Conv2dShape", "tapescope::MatmulShape", "kernels/families.h"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
    }
  }
}

// A type of the same name and another size is what a library built from other sources brings.
TEST(Families, ATypeOfAnotherSizeIsRefused) {
  GpuTable table = gpu_tables(DeviceKind::emulated).front();
  table.shape_bytes += 8;
  EXPECT_THROW(find_variants<Conv2dShape>({&table, 1}, table.family), Error);
  table.shape_bytes -= 8;
  EXPECT_EQ(find_variants<Conv2dShape>({&table, 1}, table.family).rows.size(), table.count);
}

// A preference, not a demand: what rounds to tf32 where a table has it for this shape, else what
// f32 gets; f32 and bf16 never get it, a name always goes before.
TEST(Families, Tf32IsPreferredWhereItIsAskedFor) {
  const Conv2dShape dense{.N = 1, .H = 8, .W = 8, .I = 32, .O = 32, .KH = 3, .KW = 3};
  Conv2dShape depthwise = dense;
  depthwise.groups = 32;
  const auto conv = [](const Conv2dShape& s, Precision precision, KernelChoices choices = {}) {
    return prepare_from(conv2d_variants(), s, precision.dtype,
                        Backend{Device::emulated(), std::move(choices), precision})
        .variant();
  };
  EXPECT_EQ(conv(dense, DType::f32), "implicit_gemm");
  EXPECT_EQ(conv(dense, kTf32), "tensor_core_tf32");
  EXPECT_EQ(conv(depthwise, kTf32), "depthwise");
  EXPECT_EQ(conv(dense, kTf32, {{"conv2d", "naive"}}), "naive");
  EXPECT_EQ(conv(dense, DType::f32, {{"conv2d", "tensor_core_tf32"}}), "tensor_core_tf32");
  for (const auto& table :
       {conv2d_variants(), conv2d_data_gradient_variants(), conv2d_weight_gradient_variants()}) {
    const auto chosen = [&](Precision precision) {
      return prepare_from(table, dense, DType::f32, Backend{Device::emulated(), {}, precision})
          .variant();
    };
    EXPECT_EQ(chosen(kTf32), "tensor_core_tf32") << table.family;
    EXPECT_EQ(chosen(DType::f32), "implicit_gemm") << table.family;
  }
  const MatmulShape product{.M = 64, .N = 64, .K = 64};
  const auto matmul = [&](Device device, Precision precision) {
    return prepare_from(matmul_variants(), product, DType::f32, Backend{device, {}, precision})
        .variant();
  };
  EXPECT_EQ(matmul(Device::emulated(), kTf32), "tensor_core_tf32");
  EXPECT_EQ(matmul(Device::emulated(), DType::f32), "vectorized");
  EXPECT_EQ(matmul(Device::cpu(), kTf32), matmul(Device::cpu(), DType::f32));
}

TEST(Families, EachIsListedOnceWithVariantsOnEveryDeviceThatHasIt) {
  std::set<std::string_view> names;
#define TAPESCOPE_CHECK_GPU(family, Shape)              \
  EXPECT_TRUE(names.insert(#family).second) << #family; \
  EXPECT_FALSE(gpu_variants<Shape>(DeviceKind::emulated, #family).rows.empty()) << #family;
#define TAPESCOPE_CHECK_CPU(family, Shape)                   \
  names.insert(#family);                                     \
  ASSERT_FALSE(family##_variants().rows.empty()) << #family; \
  EXPECT_EQ(family##_variants().rows.back().name, "reference") << #family;
#define TAPESCOPE_CHECK(family, Shape) \
  TAPESCOPE_CHECK_GPU(family, Shape)   \
  TAPESCOPE_CHECK_CPU(family, Shape)
  TAPESCOPE_FAMILIES(TAPESCOPE_CHECK, TAPESCOPE_CHECK_GPU, TAPESCOPE_CHECK_CPU)

  std::set<std::tuple<std::string_view, DeviceKind, std::string_view>> rows;
  for (const VariantInfo& info : all_variants()) {
    EXPECT_TRUE(names.contains(info.family)) << info.family;
    EXPECT_TRUE(rows.insert({info.family, info.device, info.name}).second)
        << info.family << " " << info.name;
  }
}

}  // namespace
}  // namespace tapescope
