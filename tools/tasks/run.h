// A model with what its file says of it, whatever it was trained for: what every command works on.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tools/explanation/class_logits.h"
#include "tools/files/input_files.h"
#include "tools/inspection/structure.h"
#include "tools/training/task.h"
#include "tools/training/weights.h"

namespace tapescope::detection {
struct Frame;
struct DetectOptions;
}  // namespace tapescope::detection

namespace tapescope::tasks {

class Kit;
class PictureExplainer;
class ReportPage;
struct ExplainOptions;
struct OtherAnswer;
struct OtherCommand;

// What an ONNX file does not say of its pictures and answers; empty or 0: what it says.
struct OnnxRequest {
  std::int64_t image_size = 0, image_width = 0;  // the width where it is not the height
  std::int64_t resize = 0;  // of the shorter side, before the middle is cut out; 0: image_size
  std::string mean, std;    // of pixels from 0 to 1: one number, or one per channel
  std::string class_names;  // a file with a name per line
  std::string outputs;      // values to end at, instead of the graph's own
  std::string head;         // of a detector: how its answers are read
  friend bool operator==(const OnnxRequest&, const OnnxRequest&) = default;
};

// Which model file is opened, and how its data is looked at.
struct RunRequest {
  std::string run, checkpoint = "best";  // a run's directory, or an ONNX file
  OnnxRequest onnx = {};
  bool allow_non_finite = false;
  bool allow_outside = false;  // of data: names in its files may lead out of it
};

// Pictures of a split, as the model is given them and as they are stored.
struct RunData {
  std::shared_ptr<const SampleSource> samples;  // "image" is among their tensors
  std::shared_ptr<const Task> task;             // to be scored by
  std::function<std::string(std::int64_t index)> name;
  std::function<Image(std::int64_t index)> picture;
  std::vector<std::string> notices;
};

struct DataRequest {
  std::string folder = {}, split = "test";
  std::int64_t limit = 0;                     // pictures at most, evenly over the split; 0: all
  std::optional<BadImage> on_bad_image = {};  // none: as the training had it
};

// What a command prints: for people, or as one JSON object.
struct Answer {
  std::string text, json;
  int status = 0;  // 2 where a picture could not be read
};

struct PredictionRequest {
  std::vector<std::string> pictures;
  std::int64_t top = 5;  // answers for each, at most
  // Is told each picture's, as text for people.
  std::function<void(const std::string& text)> say = [](const std::string&) {};
};
struct Predicted {
  std::string json;
  int status = 0;  // 2 where a picture could not be read
};

struct EvaluationRequest {
  DataRequest data;
  std::int64_t batch_size = 64;
  int loader_threads = 2;
  bool wrong = false;     // also list what was answered wrongly
  bool localise = false;  // of a classifier: how well the boxes of its class maps lie
  double share = 0.6;     // of `localise`, as Finding has them
  std::string target = "predicted";
};

// What `detect` looks for.
struct Finding {
  float threshold = 0.3f;            // least probability of a box
  int most = 100;                    // boxes per picture
  double nms = 0;                    // see detection::DetectOptions
  std::string target = "predicted";  // of a classifier: the class to look for, whatever its answer
  double share = 0.6;                // of a classifier: see detection::localise
};
// Puts boxes into a frame that has its picture, and notes how long it took.
using Finder = std::function<void(detection::Frame& frame)>;

// What the model file says, and how it was asked for.
struct RunFacts {
  RunRequest asked;
  std::string name;                  // "resnet18"
  std::vector<std::string> classes;  // "" each of a new model
  Preprocess preprocess;
  std::filesystem::path path;  // of the model file; empty of a new model
};

// Every member throws usage errors for what the task does not have, by the option's name.
class Run {
 public:
  // `kit` outlives it.
  Run(const Kit& kit, RunFacts facts) : kit_(kit), facts_(std::move(facts)) {}
  virtual ~Run() = default;
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  const Kit& kit() const { return kit_; }
  const RunRequest& asked() const { return facts_.asked; }
  const std::string& name() const { return facts_.name; }
  const std::vector<std::string>& classes() const { return facts_.classes; }
  const Preprocess& preprocess() const { return facts_.preprocess; }
  const std::filesystem::path& path() const { return facts_.path; }
  virtual const Model& model() const = 0;

  // Throws a usage error where the folder is not of the model's kind or classes.
  virtual RunData data(const DataRequest& request) const = 0;
  // Loss and scores on a split. What the data has to say goes to stderr.
  virtual Answer evaluate(const EvaluationRequest& request, const Backend& backend) const = 0;
  // The likeliest answers to pictures. One that cannot be read is told on stderr and passed over.
  virtual Predicted predict(const PredictionRequest& request, const Backend& backend) const = 0;
  // Boxes around what is in pictures.
  virtual Finder finder(const Finding& finding, const Backend& backend) const = 0;
  // Training pictures whose annotation may be wrong, `most` of them: text and JSON under this key.
  virtual Answer suspects(const DataRequest& request, std::int64_t most,
                          const Backend& backend) const = 0;
  virtual const char* suspects_key() const = 0;
  // The numbers of its answer to a picture, to be explained.
  virtual std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const = 0;
  // Explanations that are no maps.
  virtual OtherAnswer explain_otherwise(const OtherCommand& command) const;
  // What the page tells of the answers on --data.
  virtual void report(ReportPage& page) const = 0;

 private:
  const Kit& kit_;
  RunFacts facts_;
};

// The model as what structures and activations are read from: all its outputs. It outlives them.
inspection::Record record_of(const Model& model);

// The values that the run's training began with. Throws a usage error where they are not kept.
std::vector<ParameterRef> initial_parameters(const Run& run);

// Samples as the model is given them, without augmentation: f32 {N,H,W,C}.
Tensor inputs_of(const SampleSource& samples, std::span<const std::int64_t> indices);

// The files of a run that commands read.
InputFiles files_of(const RunRequest& run);

// And how much of a split is looked at, where that is not all of it.
std::vector<std::string> with_share(std::vector<std::string> notices, std::int64_t looked_at,
                                    std::int64_t all, const std::string& split);

}  // namespace tapescope::tasks
