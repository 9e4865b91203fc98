#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/cli/cli.h"
#include "tools/cli/explanation_options.h"
#include "tools/data/picture_files.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/near_names.h"
#include "tools/files/text.h"
#include "tools/tasks/explain_pictures.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct ExplainArguments {
  RunOptions run;
  tasks::ExplainCommand command;
  tasks::OtherOptions other;
  bool json = false, list = false;
};

int list_methods(const ExplainArguments& options) {
  std::vector<explain::Method> all;
  for (const auto& list :
       {explain::all_methods(), explain::particular_methods(), explain::other_methods()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  nlohmann::ordered_json methods = nlohmann::ordered_json::array();
  for (const auto& [name, about, flags, run] : all) {
    if (options.json) {
      methods.push_back({{"method", name},
                         {"paper", about.paper},
                         {"cost", about.cost},
                         {"needs", about.needs},
                         {"blind_to", about.blind_to}});
      continue;
    }
    fmt::print("{}\n", name);
    if (!about.paper.empty()) fmt::print("  paper     {}\n", about.paper);
    fmt::print("  cost      {} (in forward passes)\n", about.cost);
    if (!about.needs.empty()) fmt::print("  needs     {}\n", about.needs);
    fmt::print("  blind to  {}\n", about.blind_to);
  }
  if (options.json) fmt::print("{}\n", json_text(nlohmann::ordered_json{{"methods", methods}}, 2));
  return 0;
}

// What is taken where nobody names any: of one class per picture, and of tasks that differ.
std::string usual_methods() {
  const std::string first = tasks::kits().back()->usual_methods();
  std::string text = first;
  for (const tasks::Kit* kit : tasks::kits()) {
    if (kit->usual_methods() != first) {
      text += fmt::format(", of {} {}", kit->name(), kit->usual_methods());
    }
  }
  return text;
}

void expect_known_methods(const ExplanationRequest& request) {
  std::vector<std::string> known = {"all"};
  for (const auto& list : {explain::all_methods(), explain::particular_methods()}) {
    for (const explain::Method& method : list) known.emplace_back(method.name);
  }
  for (const std::string& method : comma_separated(request.methods)) {
    expect_no_slip("method", method, known, "`tapescope explain --list` tells all");
  }
}

// What `options` names is read, and is not written over.
void expect_outputs_apart(const ExplainArguments& options) {
  InputFiles inputs = tasks::files_of(options.run);
  const tasks::ExplainCommand& command = options.command;
  for (const std::string& path :
       {command.mask, command.options.data, command.options.request.segments,
        options.other.concept_folder, options.other.random_folder}) {
    if (!path.empty()) inputs.add(path);
  }
  tasks::expect_apart(inputs, command.pictures, command.out);
  expect_writable_folder("--out", command.out);
}

int explain_otherwise(const ExplainArguments& options) {
  const tasks::ExplainCommand& maps = options.command;
  if (maps.out.empty()) throw usage_error("--out is required: a folder for what is found");
  expect_outputs_apart(options);
  options.run.apply();
  tasks::OtherCommand command{
      maps.pictures, maps.options.request,  options.other, maps.options.data,
      maps.out,      options.run.backend(), maps.say};
  const tasks::OtherAnswer answer = tasks::open_run(options.run)->explain_otherwise(command);
  if (options.json && !answer.json.empty()) fmt::print("{}\n", answer.json);
  return answer.status;
}

int run(ExplainArguments& options) {
  if (options.list) return list_methods(options);
  tasks::ExplainCommand& command = options.command;
  ExplanationRequest& request = command.options.request;
  if (options.run.run.empty()) {
    throw usage_error("--run is required: the run directory of `tapescope train`");
  }
  command.pictures = picture_files(command.pictures);
  tell_dark(command.pictures);
  expect_known_methods(request);
  if (!options.json) {
    command.say = [](const std::string& text) {
      fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
    };
  }
  if (options.other.asked() > 0) return explain_otherwise(options);
  if (command.pictures.empty()) throw usage_error("no picture given: name at least one file");
  if (!command.mask.empty() && (!command.options.score || command.pictures.size() != 1)) {
    throw usage_error(
        "--mask goes with --score and one picture; benchmark-explanations takes many");
  }
  if (command.out.empty()) throw usage_error("--out is required: a folder for pictures and arrays");
  expect_outputs_apart(options);
  options.run.apply();
  const auto run = tasks::open_run(options.run);
  if (request.methods.empty() && request.settings.lrp.rules.empty()) {
    command.leave_out = true;
    request.methods = run->kit().usual_methods();
    fmt::print(stderr,
               "methods: {}; others by --method NAME (`explain --list`), --method all for "
               "every one\n",
               request.methods);
  }
  command.options.backend = options.run.backend();
  const tasks::Explained explained = tasks::explain_pictures(*run, command);
  if (options.json) {
    fmt::print("{}\n", explained.json);
  } else if (!explained.sheet.empty()) {
    fmt::print("all of them: {}\n", printable(explained.sheet));
  }
  return explained.status;
}

std::function<int()> setup_explain(CommandLine& line) {
  auto options = std::make_shared<ExplainArguments>();
  options->run.add_with_model(line);
  options->run.add_precision(line);
  options->run.add_allow_outside(line);
  line.option("images", options->command.pictures, "picture files, and folders of them").many();
  ExplanationRequest& request = options->command.options.request;
  request.methods.clear();
  add_explanation_options(
      line, request,
      fmt::format("names from --list, several with commas, or all that the model admits; default: "
                  "{}",
                  usual_methods()));
  line.flag("--list", options->list, "print every method's paper, cost, needs and blind spot");
  line.option("--out", options->command.out, "folder for pictures and arrays");
  line.flag("--score", options->command.options.score,
            "score each map (deletion, ROAD, ...) beside maps that know nothing of the model");
  line.flag("--ledger", options->command.ledger,
            "of lrp methods: what of the relevance each node passed on, and what its bias, the "
            "stabiliser and empty denominators took");
  line.option("--mask", options->command.mask,
              "picture of the same size, white where the cause of the answer is: scored against");
  add_box_options(line, options->command.options.boxes);
  add_other_options(line, options->other);
  line.option(
      "--data", options->command.options.data,
      "of a detector: the pictures' annotations (Pascal VOC, COCO or YOLO), for --missed and "
      "--score; else the training data, for --tracin and --nearest-examples");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kExplain = {
    "explain", "where in the picture the answer came from",
    "tapescope explain --run runs/flowers rose.jpg --method grad-cam --out maps", setup_explain};

}  // namespace tapescope::cli
