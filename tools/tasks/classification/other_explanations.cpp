#include "tools/tasks/classification/other_explanations.h"

#include <algorithm>

#include "tools/data/picture_files.h"
#include "tools/files/folders.h"

namespace tapescope::tasks {

OtherAnswer ClassificationRun::explain_otherwise(const OtherCommand& asked) const {
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
  move_to(command.backend.device, model().parameters());
  BadPictures bad;
  std::erase_if(command.images, [&](const std::string& path) {
    return bad.skipped([&] { read_picture(path, preprocess()); });
  });
  const int status = bad.status(asked.images.size());
  if (command.images.empty() && bad.count() > 0) return {"", status};
  make_output_folder(command.out);
  const auto explain = other.tracin || other.nearest   ? explain_by_examples
                       : !other.concept_folder.empty() ? explain_by_concept
                       : other.visualization           ? visualize_feature
                                                       : attack;
  return {explain(command, *this), status};
}

}  // namespace tapescope::tasks
