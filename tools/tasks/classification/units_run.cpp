#include "tools/tasks/classification/units_run.h"

#include "tools/files/text_file.h"
#include "tools/tasks/picture_explainer.h"

namespace tapescope::tasks {
namespace {

Var as_it_is(Var numbers) { return numbers; }
std::vector<double> numbers_of(const Tensor& answer) {
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < answer.elements(); ++i) numbers.push_back(answer.item(i));
  return numbers;
}

}  // namespace

UnitsRun::UnitsRun(const Kit& kit, RunRequest asked, LoadedModel loaded, std::string output)
    : ClassifierRun(kit, std::move(asked), std::move(loaded), {as_it_is, numbers_of, false}),
      output_(std::move(output)) {
  fmt::print(stderr,
             "'{}' answers no classes: its target is a unit of '{}', {} to {}, or else the largest "
             "one\n",
             shown(this->asked().run), shown(output_), classes().front(), classes().back());
}

std::unique_ptr<PictureExplainer> UnitsRun::explainer(const ExplainOptions& options) const {
  if (options.score || options.request.log_probability) {
    throw usage_error(
        "--score and --log-probability are of a class's probability, which '{}' does not answer "
        "with",
        shown(asked().run));
  }
  ExplainOptions bare = options;
  for (std::string* target : {&bare.request.target, &bare.request.against}) {
    if (target->starts_with(output_ + "[")) target->erase(0, output_.size());
  }
  return ClassifierRun::explainer(bare);
}

void UnitsRun::refuse() const {
  throw usage_error(
      "'{}' answers no classes, so there is nothing to compare its answers with; predict, explain "
      "and inspect structure, parameters and tape take it",
      shown(asked().run));
}

RunData UnitsRun::data(const DataRequest&) const { refuse(); }
Answer UnitsRun::evaluate(const EvaluationRequest&, const Backend&) const { refuse(); }
Finder UnitsRun::finder(const Finding&, const Backend&) const { refuse(); }
Answer UnitsRun::suspects(const DataRequest&, std::int64_t, const Backend&) const { refuse(); }
void UnitsRun::report(ReportPage&) const { refuse(); }

}  // namespace tapescope::tasks
