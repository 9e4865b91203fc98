// --tcav.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/explain/layer_reader.h"
#include "autograd/explain/tcav.h"
#include "engine/philox.h"
#include "tools/data/picture_files.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/other_explanations.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kLeast = 5;  // pictures of the concept
constexpr double kSignificant = 0.05;

std::vector<float> flat(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

explain::Rows activations(explain::LayerReader& reader, const std::string& folder,
                          const Preprocess& preprocess, const char* option, std::size_t least) {
  std::error_code error;
  if (folder.empty() || !fs::is_directory(folder, error)) {
    throw usage_error("{} '{}' is no folder of pictures", option, folder);
  }
  const std::vector<std::string> files = picture_files({folder});
  if (files.size() < least) {
    throw usage_error("{} '{}' holds {} pictures; at least {} are needed", option, folder,
                      files.size(), least);
  }
  explain::Rows rows;
  for (const std::string& file : files) {
    rows.push_back(flat(reader.values(read_picture(file, preprocess).input)));
  }
  return rows;
}

// `count` of the rows, drawn without repetition.
explain::Rows drawn(const explain::Rows& from, std::size_t count, std::uint64_t seed,
                    std::uint64_t draw) {
  PhiloxStream random(mix(seed, draw));
  std::vector<std::size_t> order(from.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  explain::Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t j = i + random.below(static_cast<std::uint32_t>(order.size() - i));
    std::swap(order[i], order[j]);
    rows.push_back(from[order[i]]);
  }
  return rows;
}

double mean_of(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

// Of the target's score by the layer, at each picture.
explain::Rows gradients(explain::LayerReader& reader, const OtherCommand& command,
                        const ClassificationRun& run) {
  explain::Rows rows;
  const auto classes = static_cast<std::int64_t>(run.classes().size());
  for (const std::string& path : command.images) {
    const Tensor input = read_picture(path, run.preprocess()).input;
    const std::int64_t index =
        target_of(command.explanation, run.classes(), Tensor::zeros({DType::f32, {1, classes}}))
            .index;
    rows.push_back(flat(reader.gradient(input, Tensor::from<std::int64_t>({1}, {index}))));
  }
  return rows;
}

// One of each per draw.
struct Scores {
  std::vector<double> of_concept, of_chance, accuracies, magnitudes;
};

// The concept against sets of others, and those against one another: what chance gives.
Scores scores_of(const explain::Rows& shown, const explain::Rows& others,
                 const explain::Rows& gradients, int sets, std::uint64_t seed) {
  Scores scores;
  for (int k = 0; k < sets; ++k) {
    const auto draw = static_cast<std::uint64_t>(3 * k);
    const explain::ConceptVector v =
        explain::concept_vector(shown, drawn(others, shown.size(), seed, draw));
    const explain::TcavScore score = explain::tcav(v, gradients);
    scores.of_concept.push_back(score.share);
    scores.magnitudes.push_back(score.magnitude);
    scores.accuracies.push_back(v.accuracy);
    scores.of_chance.push_back(
        explain::tcav(explain::concept_vector(drawn(others, shown.size(), seed, draw + 1),
                                              drawn(others, shown.size(), seed, draw + 2)),
                      gradients)
            .share);
  }
  return scores;
}

}  // namespace

std::string explain_by_concept(const OtherCommand& command, const ClassificationRun& run) {
  const OtherOptions& other = command.other;
  if (command.explanation.target == "predicted") {
    throw usage_error("--tcav needs --target CLASS: whose score it asks about");
  }
  explain::LayerReader reader(run.class_logits().record, run.preprocess().image,
                              command.explanation.settings.layer, command.backend);
  const explain::Rows shown =
      activations(reader, other.concept_folder, run.preprocess(), "--tcav", kLeast);
  // Sets as large as the concept's, and different ones.
  const explain::Rows others =
      activations(reader, other.random_folder, run.preprocess(), "--random", 2 * shown.size());
  const Scores scores = scores_of(shown, others, gradients(reader, command, run), other.random_sets,
                                  command.explanation.settings.seed);
  const double score = mean_of(scores.of_concept), chance = mean_of(scores.of_chance),
               accuracy = mean_of(scores.accuracies);
  const explain::TTest test = explain::t_test(scores.of_concept, scores.of_chance);
  const ordered_json result = {{"run", run.asked().run},
                               {"method", "tcav"},
                               {"concept", other.concept_folder},
                               {"target", command.explanation.target},
                               {"node", reader.node()},
                               {"images", command.images.size()},
                               {"score", score},
                               {"scores", scores.of_concept},
                               {"magnitude", mean_of(scores.magnitudes)},
                               {"accuracy", accuracy},
                               {"chance", chance},
                               {"chance_scores", scores.of_chance},
                               {"t", test.t},
                               {"p", test.p},
                               {"significant", test.p < kSignificant}};
  write_atomically(fs::path(command.out) / "tcav.json", json_text(result, 2) + "\n");
  command.say(fmt::format(
      "'{}' grows with '{}' in {:.0f} % of {} pictures at {} ({:.0f} % for sets of anything); two-"
      "sided p {:.2g} over {} sets: {}\nthe concept's direction tells its pictures from others in "
      "{:.0f} % of those held out{}",
      command.explanation.target, other.concept_folder, 100 * score, command.images.size(),
      reader.node(), 100 * chance, test.p, other.random_sets,
      test.p >= kSignificant ? "no other than chance"
      : score > chance       ? "more than chance"
                             : "less than chance",
      100 * accuracy, accuracy < 0.7 ? ": the node hardly knows the concept" : ""));
  return json_text(result, 2);
}

}  // namespace tapescope::tasks
