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
