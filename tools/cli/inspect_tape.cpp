#include <fmt/ranges.h>

#include "autograd/explain/methods.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/program/passes.h"
#include "autograd/program/print.h"
#include "tools/cli/inspect.h"
#include "tools/files/atomic_file.h"
#include "tools/inspection/tape_json.h"
#include "tools/inspection/tape_svg.h"

namespace tapescope::cli {
namespace {

struct InspectTapeArguments {
  ModelSource source;
  bool gradient = false, program = false, fixed = false, json = false;
  std::string relevance, graph;
  std::vector<std::string> without;
};

// What is explained: the score of the class "class", or the sum of a map's scores.
Var target_of(Tape& tape, Var output) {
  if (output.shape().rank() != 2) return explain::row_sums(output);
  return explain::class_logit(output, tape.input("class", DType::i64, {output.shape()[0]}));
}

// Appends what was asked for, and returns what a Program of the tape computes.
std::vector<Var> append(Tape& tape, Var image, std::vector<Var> outputs,
                        const InspectTapeArguments& options) {
  if (!options.gradient && options.relevance.empty()) return outputs;
  const Var target = target_of(tape, outputs[0]);
  const Var wrt[] = {image};
  if (options.gradient) return {tape.gradient(target, wrt)[0]};
  const auto composite = explain::composite_of(options.relevance);
  if (!composite) {
    std::vector<std::string_view> known;
    for (const explain::Method& method : explain::all_methods()) {
      if (explain::composite_of(method.name)) known.push_back(method.name);
    }
    throw usage_error("--relevance '{}' is no composite; known are {}", options.relevance,
                      fmt::join(known, ", "));
  }
  return {tape.relevance(target, wrt, *composite)[0]};
}

int run(InspectTapeArguments& options) {
  if (!options.graph.empty()) expect_writable("--graph", options.graph);
  const auto opened = options.source.open();
  const Backend backend = options.source.run.backend();
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image = tape.input("image", DType::f32, opened->preprocess().image.with_leading(1));
  const std::vector<Var> wanted =
      append(tape, image, tasks::record_of(opened->model())(tape, image), options);
  std::optional<Program> program;
  if (options.program || options.fixed || !options.without.empty()) {
    program = tape.compile(wanted, {}, {.keep_fixed = options.fixed, .without = options.without});
  }
  if (!options.graph.empty()) {
    const bool svg = options.graph.ends_with(".svg");
    write_atomically(options.graph, svg ? inspection::tape_svg(tape) : dot_graph(tape));
  }
  if (options.json) {
    fmt::print("{}\n", inspection::to_json(opened->name(), tape, program ? &*program : nullptr));
  } else {
    fmt::print("{}", program ? list_steps(*program) : list_nodes(tape));
  }
  return 0;
}

std::function<int()> setup_inspect_tape(CommandLine& line) {
  auto options = std::make_shared<InspectTapeArguments>();
  options->source.add_to(line);
  const Option gradient = line.flag("--gradient", options->gradient,
                                    "append the gradient of a class's score by the picture");
  line.option("--relevance", options->relevance, "append its relevance by this composite instead")
      .excludes(gradient);
  line.flag("--program", options->program, "the steps it is compiled to, and their memory");
  line.flag("--fixed", options->fixed,
            "the same as predict and explain compile it: weights stay, and what is made of them");
  line.option("--without", options->without,
              "the same without these passes, with commas: " + names_of_passes() + ", all");
  line.option("--graph", options->graph, "also draw the tape: FILE.svg, or FILE.dot for Graphviz");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectTape = {
    "tape", "what is recorded, node by node: ops, types, and what was appended for which node",
    "tapescope inspect tape --model lenet --relevance lrp-epsilon-plus --program",
    setup_inspect_tape};

}  // namespace tapescope::cli
