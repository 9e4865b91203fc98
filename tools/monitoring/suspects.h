// Images of a data set with what the model makes of them: label-noise suspects, best and worst.
#pragma once

#include <memory>
#include <vector>

#include "tools/training/classifier_file.h"

namespace tapescope::monitoring {

struct Judged {
  std::int64_t index = 0;  // in the data set
  std::int64_t label = 0, predicted = 0;
  double loss = 0;  // cross entropy: -ln of the label's probability
  double label_probability = 0, predicted_probability = 0;
  bool wrong() const { return predicted != label; }
  // How much more probable the answer is than the true class.
  double margin() const { return predicted_probability - label_probability; }
};

// Every image, in the data set's order.
std::vector<Judged> judge_images(const Classifier& model, const ModelInfo& info,
                                 std::shared_ptr<const Dataset> data, const Backend& backend);

// The `most` images of the highest loss among those that are answered wrongly with a probability of
// at least `confidence`: where the label may be what is wrong.
std::vector<Judged> label_suspects(std::vector<Judged> judged, std::size_t most,
                                   double confidence = 0.6);

}  // namespace tapescope::monitoring
