import ColocateFormats
import Foundation

Descriptor.reserveStandard()
Signals.prepare()
exit(ColocateTool.runAndReport())
