#include "tools/files/near_names.h"

#include <gtest/gtest.h>

namespace tapescope {
namespace {

TEST(NearNames, CountsEditsAsByHand) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("epcohs", "epochs"), 1u) << "neighbours exchanged";
  EXPECT_EQ(edit_distance("same", "same"), 0u);
}

TEST(NearNames, FindsWhatWasMeant) {
  const std::vector<std::string> options = {"--batch-size", "--image-size", "--epochs", "--data",
                                            "--lr",         "--weights",    "--run",    "--out"};
  EXPECT_EQ(near_name("--batch", options), "--batch-size");
  EXPECT_EQ(near_name("--size", options), "--batch-size") << "the first of equal ones";
  EXPECT_EQ(near_name("--imagesize", options), "--image-size");
  EXPECT_EQ(near_name("--image_size", options), "--image-size");
  EXPECT_EQ(near_name("--epcohs", options), "--epochs");
  EXPECT_EQ(near_name("--epoch", options), "--epochs");
  EXPECT_EQ(near_name("--early-stopping", options), "");
  EXPECT_EQ(near_name("--", options), "");
  const std::vector<std::string> methods = {"grad-cam", "grad-cam-plus-plus", "saliency"};
  EXPECT_EQ(near_name("gradcam", methods), "grad-cam");
  EXPECT_EQ(near_name("GradCAM", methods), "grad-cam");
  EXPECT_EQ(near_name("salience", methods), "saliency");
  EXPECT_EQ(did_you_mean("gradcam", methods), "; did you mean grad-cam?");
  EXPECT_EQ(did_you_mean("wavelet", methods), "");
}

}  // namespace
}  // namespace tapescope
