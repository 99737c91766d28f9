// Whoever imports the solver has the model too, as with swift-collections' Collections.
@_exported import ColocateModel
