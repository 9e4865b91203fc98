// Ranks that share each batch train what one process trains, to the bit.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/small_training.h"

namespace tapescope {
namespace {

void expect_same_history(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norms, b.norms);
  EXPECT_EQ(a.batches, b.batches);
}

// 17 samples in batches of 4: the last batch is one sample, of which all ranks but one have none.
TEST(Trainer, OneTwoAndFourRanksTrainTheSameModel) {
  for (const Prepared& prepared :
       {Prepared{.model = "lenet", .chunks = 4},
        Prepared{.model = "resnet20", .optimizer = "adamw", .rate = 0.002, .chunks = 4},
        Prepared{.model = "resnet20", .rate = 0.02, .precision = DType::bf16, .chunks = 4}}) {
    SCOPED_TRACE(prepared.model);
    const Trained one = train(prepared);
    for (int ranks : {2, 4}) {
      SCOPED_TRACE(ranks);
      const Trained shared = train(prepared, {}, {ranks});
      expect_equal(one, shared);
      expect_same_history(one, shared);
    }
  }
}

TEST(Trainer, IsResumedByAnyNumberOfRanks) {
  const Prepared prepared{.model = "resnet20", .chunks = 4};
  const Trained one = train(prepared), resumed = train(prepared, {3, 6}, {4, 2, 1});
  expect_equal(one, resumed);
}

TEST(Trainer, ARankThatDivergesIsNamed) {
  ThreadRanks(2).run([](Communicator& own) {
    std::vector<ParameterRef> parameters;
    for (const char* name : {"conv1.weight", "fc.bias"}) {
      parameters.push_back(std::make_shared<Parameter>(name, Tensor::full({DType::f32, {3}}, 1),
                                                       Parameter::Kind::weight));
    }
    expect_alike(parameters, own, 100);
    if (own.rank() == 1) parameters[1]->value.values<float>()[2] = std::nextafter(1.0f, 2.0f);
    try {
      expect_alike(parameters, own, 200);
      ADD_FAILURE() << "nothing was said";
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::failure);
      EXPECT_EQ(
          std::string(error.what()).find("after step 200 'fc.bias' is not the same on rank 1"), 0u)
          << error.what();
    }
  });
}

}  // namespace
}  // namespace tapescope
