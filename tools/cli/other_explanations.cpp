#include "tools/cli/other_explanations.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/cli/picture_files.h"
#include "tools/detection/detector_file.h"

namespace tapescope::cli {

void OtherOptions::add_to(CLI::App& app) {
  const char* group = "Instead of maps";
  app.add_flag("--tracin", tracin,
               "training examples of --data that taught the answer (from a run that was trained "
               "with --keep-checkpoints)")
      ->group(group);
  app.add_flag("--nearest-examples", nearest, "training examples of --data alike at --layer")
      ->group(group);
  app.add_option("--examples", examples,
                 "of the two: how many are looked at, spread over the training data; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30))
      ->group(group);
  app.add_option("--shown", shown, "of the two: how many are shown of each kind")
      ->capture_default_str()
      ->check(CLI::Range(1, 100))
      ->group(group);
  app.add_option("--parameters", parameters,
                 "of --tracin: glob of the parameters that learn; default: the last layer's")
      ->group(group);
  app.add_option("--tcav", concept_folder,
                 "folder with pictures of a concept: how the score of --target answers to it, on "
                 "the pictures given")
      ->group(group);
  app.add_option("--random", random_folder, "of --tcav: folder with pictures of anything")
      ->group(group);
  app.add_option("--random-sets", random_sets, "of --tcav: how often others are drawn of those")
      ->capture_default_str()
      ->check(CLI::Range(3, 10000))
      ->group(group);
  app.add_flag("--feature-visualization", visualization,
               "a picture that raises --target, --unit or --channel; no picture is needed")
      ->group(group);
  app.add_option(
         "--channel", channel,
         "of --feature-visualization: NODE[INDEX], the mean of one channel of a feature map")
      ->group(group);
  app.add_flag("--fgsm", fgsm, "the picture changed in one step so that the answer changes")
      ->group(group);
  app.add_flag("--pgd", pgd, "the same in several steps; with --target CLASS: to this class")
      ->group(group);
  app.add_option("--radius", radius, "of the two: most change, in 1/255 of black to white")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6))
      ->group(group);
  app.add_option(
         "--norm", norm,
         "of --pgd: linf, each value by at most the radius, or l2, the length of the change "
         "(1 is one value from black to white times 255)")
      ->capture_default_str()
      ->check(CLI::IsMember({"linf", "l2"}))
      ->group(group);
  app.add_option("--attack-steps", attack_steps, "of --pgd")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000))
      ->group(group);
}

int OtherOptions::asked() const {
  return static_cast<int>(tracin) + static_cast<int>(nearest) + static_cast<int>(visualization) +
         static_cast<int>(fgsm) + static_cast<int>(pgd) + static_cast<int>(!concept_folder.empty());
}

int explain_otherwise(const OtherCommand& asked) {
  OtherCommand command = asked;
  const OtherOptions& other = command.other;
  if (other.asked() > 1) {
    throw usage_error(
        "--tracin, --nearest-examples, --tcav, --feature-visualization, --fgsm and --pgd each "
        "answer on their own: ask for one");
  }
  if (command.images.empty() && !other.visualization) {
    throw usage_error("no picture given: name at least one file");
  }
  if (detection::is_detector(command.run.run, command.run.checkpoint)) {
    throw usage_error("'{}' is a detector's run; this explanation is of a classifier's answers",
                      command.run.run);
  }
  const LoadedModel loaded = command.run.classifier();
  move_to(command.run.backend().device, loaded.model->parameters());
  BadPictures bad;
  std::erase_if(command.images, [&](const std::string& path) {
    return bad.skipped([&] { read_picture(path, loaded.info); });
  });
  if (command.images.empty() && bad.count() > 0) return bad.status(asked.images.size());
  make_output_folder(command.out);
  const int status = other.tracin || other.nearest   ? explain_by_examples(command, loaded)
                     : !other.concept_folder.empty() ? explain_by_concept(command, loaded)
                     : other.visualization           ? visualize_feature(command, loaded)
                                                     : attack(command, loaded);
  return std::max(status, bad.status(asked.images.size()));
}

explain::Explainer::Record record_of(const LoadedModel& loaded) {
  return [model = loaded.model.get()](Tape&, Var image) {
    return (*model)({{"image", image}}).at("logits");
  };
}

NodeIndex parsed_node(const std::string& option, const std::string& text) {
  const std::size_t open = text.rfind('[');
  const std::string digits = open != std::string::npos && text.ends_with(']')
                                 ? text.substr(open + 1, text.size() - open - 2)
                                 : "";
  if (digits.empty() || digits.size() > 9 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    throw usage_error("{} '{}' is not of the form NODE[INDEX], for instance fc/linear[2]", option,
                      text);
  }
  return {text.substr(0, open), std::stoll(digits)};
}

}  // namespace tapescope::cli
