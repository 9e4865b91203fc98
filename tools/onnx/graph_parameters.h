// The parameters of a graph that becomes a model: made when it is recorded for the first time.
#pragma once

#include <map>
#include <set>
#include <string>

#include "engine/philox.h"
#include "tools/onnx/recorder.h"

namespace tapescope::onnx {

class GraphParameters {
 public:
  // Adds a parameter to the model.
  using Add = std::function<ParameterRef(const std::string& name, Parameter::Kind kind, Tensor)>;
  // Options of the recording that makes them, and of every later one. Both refer to this.
  RecorderOptions making(Add add);
  RecorderOptions made() const;
  // Whether the file's initialiser is a parameter whose numbers no recording looks at.
  bool holds(const std::string& initialiser) const {
    return stored_.contains(initialiser) && !looked_at_.contains(initialiser);
  }
  // The initialiser that a parameter was made of, by the parameter's name.
  const std::string& source_of(const std::string& parameter) const;

 private:
  ParameterRef find(const std::string& name, const Layout& layout) const;
  struct Stored {
    Layout layout;
    ParameterRef parameter;
  };
  std::multimap<std::string, Stored> stored_;
  std::map<std::string, std::string> sources_;
  std::set<std::string> looked_at_;  // parameters or not: the graph needs their numbers
};

// The input of a graph whose input is a picture, f32 {N,H,W,C} on the tape.
Value picture_value(const Graph& graph, Var image);

// A file does not say how its values began: normal, with the parameter's own mean and spread.
void redraw(const Parameter& from, Parameter& into, PhiloxStream& random);

}  // namespace tapescope::onnx
