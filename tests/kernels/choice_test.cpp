// Which variant is prepared where one was chosen for a shape, and what there is to choose from.
#include "kernels/common/choice.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"

namespace tapescope {
namespace {

Conv2dShape conv(std::int64_t images, std::int64_t channels) {
  Conv2dShape s;
  s.N = images, s.H = s.W = 14, s.I = s.O = channels, s.KH = s.KW = 3, s.pad_h = s.pad_w = 1;
  return s;
}

std::string_view chosen(const Conv2dShape& s, const KernelChoices& choices) {
  return prepare_from(conv2d_variants(), s, s.dtype, {Device::cpu(), choices}).variant();
}

TEST(KernelChoice, AKeySaysAllOfAShapeButItsBatch) {
  const Conv2dShape s = conv(8, 16);
  EXPECT_EQ(s.key(), "f32 14x14 16->16 3x3 pad 1");
  EXPECT_EQ(conv(1, 16).key(), s.key());
  EXPECT_EQ(conv(0, 16).key(), "") << "nothing is computed";
  Conv2dShape pieces = s;
  pieces.pieces = 4;
  EXPECT_EQ(pieces.key(), s.key()) << "processes have other pieces";

  std::set<std::string> keys = {s.key()};
  const auto differs = [&](auto member, auto value) {
    Conv2dShape other = s;
    other.*member = value;
    EXPECT_TRUE(keys.insert(other.key()).second) << other.key();
  };
  for (auto member : {&Conv2dShape::H, &Conv2dShape::W, &Conv2dShape::I, &Conv2dShape::O,
                      &Conv2dShape::KH, &Conv2dShape::KW, &Conv2dShape::stride_h,
                      &Conv2dShape::stride_w, &Conv2dShape::pad_h, &Conv2dShape::pad_w,
                      &Conv2dShape::dilation_h, &Conv2dShape::dilation_w, &Conv2dShape::groups}) {
    differs(member, std::int64_t{2});
  }
  differs(&Conv2dShape::bias, true);
  differs(&Conv2dShape::dtype, DType::bf16);
}

TEST(KernelChoice, TheBatchOfAProductIsWhereItIs) {
  const MatmulShape forward{DType::f32, true, false, true, 32, 10, 64};
  EXPECT_EQ(forward.key(), "f32 nt BATCHx64 to 10 bias");
  MatmulShape other = forward;
  other.M = 5;
  EXPECT_EQ(other.key(), forward.key());
  other.K = 65;
  EXPECT_NE(other.key(), forward.key());
  const MatmulShape gradient{DType::f32, false, true, false, 10, 64, 32};
  other = gradient;
  other.K = 5;
  EXPECT_EQ(other.key(), gradient.key());
  other.M = 11;
  EXPECT_NE(other.key(), gradient.key());
}

TEST(KernelChoice, AShapeTakesItsOwnAndANamedFamilyGoesBefore) {
  const Conv2dShape s = conv(2, 16);
  EXPECT_EQ(chosen(s, {}), "winograd");
  const KernelChoices one = {{"conv2d " + s.key(), "reference"}};
  EXPECT_EQ(chosen(s, one), "reference");
  EXPECT_EQ(chosen(conv(7, 16), one), "reference") << "whatever the batch";
  EXPECT_EQ(chosen(conv(2, 32), one), "winograd") << "of another shape nothing was said";
  KernelChoices both = one;
  both["conv2d"] = "winograd";
  EXPECT_EQ(chosen(s, both), "winograd");
  EXPECT_EQ(chosen(conv(0, 16), {{"conv2d " + s.key(), "winograd"}}), chosen(conv(0, 16), {}))
      << "where there is nothing to compute nothing can be wrong";
}

TEST(KernelChoice, OneThatDoesNotCoverItsShapeIsRefusedByIt) {
  Conv2dShape s = conv(2, 16);
  s.stride_h = s.stride_w = 2;
  try {
    chosen(s, {{"conv2d " + s.key(), "winograd"}});
    FAIL() << "Winograd's tiles have no strides";
  } catch (const Error& error) {
    const std::string text = error.what();
    for (const char* part : {"[conv2d f32 14x14 16->16 3x3 stride 2 pad 1]", "'winograd'"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
    }
    EXPECT_EQ(error.blame(), Blame::usage);
  }
}

KernelQuestions asked(const Conv2dShape& s, DeviceKind device, KernelChoices choices = {}) {
  KernelQuestions questions;
  Backend backend{{device}, std::move(choices)};
  backend.questions = &questions;
  prepare_from(conv2d_variants(), s, s.dtype, backend);
  return questions;
}

TEST(KernelChoice, TheQuestionListsWhatCoversBeforeTheTextbook) {
  const Conv2dShape s = conv(2, 16);
  const KernelQuestions cpu = asked(s, DeviceKind::cpu);
  ASSERT_EQ(cpu.size(), 1u);
  EXPECT_EQ(cpu[0].kernel, "conv2d " + s.key());
  std::vector<std::string_view> want;
  for (const Variant<Conv2dShape>& variant : conv2d_variants()) {
    const bool quick = variant.name == "winograd" || variant.name == "onednn";
    if (quick && variant.reason.empty()) want.push_back(variant.name);
  }
  EXPECT_EQ(cpu[0].variants, want);

  // On a GPU without tf32.
  const KernelQuestions gpu = asked(s, DeviceKind::emulated);
  ASSERT_EQ(gpu.size(), 1u);
  EXPECT_EQ(gpu[0].variants, (std::vector<std::string_view>{"implicit_gemm", "tiled"}));

  // A choice changes what runs, not what there is; a name leaves nothing to ask.
  const KernelQuestions again = asked(s, DeviceKind::cpu, {{cpu[0].kernel, "reference"}});
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].variants, want);
  EXPECT_TRUE(asked(s, DeviceKind::cpu, {{"conv2d", "reference"}}).empty());
}

// Its arithmetic is another: it is measured where that was asked for, and is the usual one there.
TEST(KernelChoice, Tf32IsAskedAboutWhereItIsThePrecision) {
  const Conv2dShape s = conv(2, 16);
  KernelQuestions questions;
  Backend backend{Device::emulated(), {}, kTf32};
  backend.questions = &questions;
  EXPECT_EQ(prepare_from(conv2d_variants(), s, s.dtype, backend).variant(), "tensor_core_tf32");
  ASSERT_EQ(questions.size(), 1u);
  EXPECT_EQ(questions[0].variants,
            (std::vector<std::string_view>{"tensor_core_tf32", "implicit_gemm", "tiled"}));
}

}  // namespace
}  // namespace tapescope
