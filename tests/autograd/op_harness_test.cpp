// Every op of the list through every check of the harness.
#include <gtest/gtest.h>

#include "tests/autograd/harness.h"

namespace tapescope {
namespace {

class OpHarness : public testing::TestWithParam<std::size_t> {
 protected:
  // The samples of one op, filled in; see op_cases.h for `rows`.
  static std::vector<Case> cases_of(std::size_t op, std::int64_t rows) {
    std::vector<Case> result;
    for (Sample& sample : all_ops()[op].samples()) {
      Case c{std::move(sample), {}};
      std::uint64_t seed = 1;
      for (const OperandSpec& spec : c.sample.operands)
        c.operands.push_back(fill(spec, rows, seed++));
      result.push_back(std::move(c));
    }
    return result;
  }
  void expect_none(Problems (*check)(const Case&), std::int64_t rows = -1) {
    for (const Case& c : cases_of(GetParam(), rows)) {
      for (const std::string& problem : check(c)) ADD_FAILURE() << label_of(c) << ": " << problem;
    }
  }
};

TEST_P(OpHarness, VariantsAgreeWithTheReference) { expect_none(check_variants); }
TEST_P(OpHarness, EveryDeviceRecordsItAndItsGradient) { expect_none(check_devices); }
TEST_P(OpHarness, GradientAgreesWithDifferences) { expect_none(check_gradient); }
TEST_P(OpHarness, SecondGradientAgreesWithDifferences) { expect_none(check_second_gradient); }
TEST_P(OpHarness, RowsAreIndependentWhereClaimed) { expect_none(check_rows_independent, 7); }
TEST_P(OpHarness, OverwritingWhereAllowed) { expect_none(check_overwrite); }
TEST_P(OpHarness, ThreadsChangeNoBit) { expect_none(check_threads); }
TEST_P(OpHarness, NonnegativeWhereClaimed) { expect_none(check_nonnegative); }
TEST_P(OpHarness, IsWhatItTellsExplanations) {
  for (const auto check :
       {check_shape_operands, check_moves, check_selects, check_weight_operand, check_channel_axis,
        check_nonnegative_factors, check_keeps_signs, check_constant_part, check_channels_last,
        check_channel_affine, check_without_padding, check_elementary}) {
    expect_none(check);
  }
}
TEST_P(OpHarness, RunsAtAnotherBatchSize) {
  const std::vector<Case> at3 = cases_of(GetParam(), 3), at7 = cases_of(GetParam(), 7);
  for (std::size_t i = 0; i < at3.size(); ++i) {
    for (const std::string& problem : check_batch_size(at3[i], at7[i])) {
      ADD_FAILURE() << label_of(at3[i]) << ": " << problem;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryOp, OpHarness, testing::Range<std::size_t>(0, all_ops().size()),
                         [](const auto& info) { return std::string(all_ops()[info.param].name); });

}  // namespace
}  // namespace tapescope
