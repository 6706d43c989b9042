/** A binary heap of items that know their place in it, smallest first. */
export interface Item {
  index: number
}

export const up = <A extends Item>(heap: Array<A>, item: A, before: (a: A, b: A) => boolean): void => {
  let { index } = item
  while (index > 0) {
    const parent = heap[(index - 1) >>> 1]
    if (parent === undefined || !before(item, parent)) break
    heap[index] = parent
    const above = (index - 1) >>> 1
    parent.index = index
    index = above
  }
  heap[index] = item
  item.index = index
}

export const down = <A extends Item>(heap: Array<A>, item: A, before: (a: A, b: A) => boolean): void => {
  let { index } = item
  for (;;) {
    let child = heap[2 * index + 1]
    const right = heap[2 * index + 2]
    if (child !== undefined && right !== undefined && before(right, child)) child = right
    if (child === undefined || !before(child, item)) break
    const below = child.index
    heap[index] = child
    child.index = index
    index = below
  }
  heap[index] = item
  item.index = index
}

export const push = <A extends Item>(heap: Array<A>, item: A, before: (a: A, b: A) => boolean): void => {
  item.index = heap.length
  heap.push(item)
  up(heap, item, before)
}

export const remove = <A extends Item>(heap: Array<A>, item: A, before: (a: A, b: A) => boolean): void => {
  const last = heap.pop()
  if (last === undefined || last === item) return
  last.index = item.index
  heap[item.index] = last
  up(heap, last, before)
  down(heap, last, before)
}
